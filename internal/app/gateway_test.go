package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"perdure/internal/client"
	"perdure/internal/route"
)

func TestSourceIsHeardOnlyFromNodesWithAMajority(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"revision":5,"reset":true,"node":"a","incarnation":{"counter":2,"id":"y"}}
{"revision":5,"heartbeat":true,"node":"a","incarnation":{"counter":2,"id":"y"}}
{"revision":5,"heartbeat":true,"node":"a","incarnation":{"counter":2,"id":"y"}}
{"revision":6,"key":"instances/x","deleted":true}
{"revision":6,"heartbeat":true,"quorum":true,"node":"a","incarnation":{"counter":2,"id":"y"}}
{"revision":7,"key":"instances/x","deleted":true}
`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer srv.Close()
	c, err := client.New(client.Options{Endpoints: []string{srv.URL}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var told []string
	deliver := func(in route.Input) {
		told = append(told, fmt.Sprintf("version %d of %d.%s", in.Version, in.Incarnation.Counter, in.Incarnation.ID))
		if in.Version == 7 {
			cancel()
		}
	}
	err = routes{nodes: nodes{c: c}, log: slog.New(slog.DiscardHandler)}.Watch(ctx, deliver, func() { told = append(told, "heard") })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(told), "[version 5 of 2.y version 6 of 2.y heard version 7 of 2.y]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
