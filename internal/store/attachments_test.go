package store_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
	"perdure/internal/store"
	"perdure/internal/wire"
)

// pdf is a file of a size that no other one is.
func pdf(t *testing.T, size int) (wire.KeptAttachment, []byte) {
	t.Helper()
	data := make([]byte, size)
	_, _ = rand.Read(data)
	copy(data, "%PDF-1.7\n")
	a, err := run.NewAttachment("totals.pdf", data)
	if err != nil {
		t.Fatal(err)
	}
	return wire.KeptAttachment{Attachment: a, Step: "ask", By: "li"}, data
}

func TestAttachmentComesBackAsItWasAndIsKeptOnce(t *testing.T) {
	s, n := begunStore(t)
	startRun(t, s, "r1", runtest.Program(t, runSteps, plan.Takeover))
	a, data := pdf(t, run.MostAttachment)
	for range 2 {
		kept, err := s.PutAttachment(t.Context(), "r1", a, data)
		if err != nil || kept.SHA256 != a.SHA256 || kept.Name != "totals.pdf" || kept.By != "li" || kept.At == 0 {
			t.Fatalf("%+v, %v", kept, err)
		}
	}
	got, err := s.AttachmentData(t.Context(), "r1", a.SHA256)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	total, err := n.Client().Get(t.Context(), store.Root+"attachments/total")
	if err != nil || string(total.Kvs[0].Value) != fmt.Sprint(run.MostAttachment) {
		t.Errorf("it is counted as %s, %v", total.Kvs[0].Value, err)
	}
	// For another step it is noted once more, and its bytes are there once.
	b := a
	b.Step, b.By = "in/two", "qi"
	if _, err := s.PutAttachment(t.Context(), "r1", b, data); err != nil {
		t.Fatal(err)
	}
	both, err := s.Attachments(t.Context(), "r1", a.SHA256)
	if err != nil || len(both) != 2 || both[0].Step != "ask" || both[1].Step != "in/two" || both[1].By != "qi" {
		t.Errorf("%+v, %v", both, err)
	}
	parts, err := n.Client().Get(t.Context(), store.Root+"attachments/parts/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || parts.Count != run.MostAttachment>>19 {
		t.Errorf("its bytes are in %d parts, %v", parts.Count, err)
	}
	// It is of its run alone, and nothing else is a digest.
	startRun(t, s, "r2", runtest.Program(t, runSteps, plan.Takeover))
	if _, err := s.AttachmentData(t.Context(), "r2", a.SHA256); errs.KindOf(err) != errs.NotFound {
		t.Error(err)
	}
	if _, err := s.Attachments(t.Context(), "r1", "../total"); errs.KindOf(err) != errs.Invalid {
		t.Error(err)
	}
	if _, err := s.PutAttachment(t.Context(), "r3", a, data); errs.KindOf(err) != errs.NotFound {
		t.Error(err)
	}
	if _, err := s.PutAttachment(t.Context(), "r1", a, data[1:]); err == nil {
		t.Error("bytes of another digest were kept")
	}
	// Bytes that were changed behind the store's back are told.
	if _, err := n.Client().Put(t.Context(), store.Root+"attachments/parts/r1/"+a.SHA256+"/0001", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AttachmentData(t.Context(), "r1", a.SHA256); errs.KindOf(err) != errs.Internal {
		t.Errorf("changed bytes: %v", err)
	}
	events, err := s.Events(t.Context(), 0, 100, false, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	noted := 0
	for _, e := range events {
		if e.What == "run.attached" && e.Subject == "r1" && e.Who == "person:li" && strings.Contains(string(e.Detail), a.SHA256) {
			noted++
		}
	}
	if noted != 1 {
		t.Errorf("the audit log tells of it %d times", noted)
	}
}

func TestAttachmentsOfARunAndOfAllRunsAreBounded(t *testing.T) {
	s, n := begunStore(t)
	etcd := n.Client()
	startRun(t, s, "r1", runtest.Program(t, runSteps, plan.Takeover))
	for range 4 {
		a, data := pdf(t, run.MostAttachment)
		if _, err := s.PutAttachment(t.Context(), "r1", a, data); err != nil {
			t.Fatal(err)
		}
	}
	a, data := pdf(t, 100)
	if _, err := s.PutAttachment(t.Context(), "r1", a, data); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("a task takes more: %v", err)
	}
	a.Step = "other/deep"
	if _, err := s.PutAttachment(t.Context(), "r1", a, data); err != nil {
		t.Errorf("another task has no room: %v", err)
	}
	for n := range 30 { // noted, as if they were there
		b, _ := pdf(t, run.MostAttachment)
		b.Step = fmt.Sprint("s", n)
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := etcd.Put(t.Context(), store.Root+"attachments/of/r1/"+b.SHA256+"/"+b.Step, string(text)); err != nil {
			t.Fatal(err)
		}
	}
	full, text := pdf(t, run.MostAttachment)
	full.Step = "other"
	if _, err := s.PutAttachment(t.Context(), "r1", full, text); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "128 MiB") {
		t.Errorf("a run takes more: %v", err)
	}
	startRun(t, s, "r2", runtest.Program(t, runSteps, plan.Takeover))
	if _, err := n.Client().Put(t.Context(), store.Root+"attachments/total", fmt.Sprint(256<<20-99)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutAttachment(t.Context(), "r2", a, data); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "256 MiB") {
		t.Errorf("the estate takes more: %v", err)
	}
}

func TestFileThatWasLeftHalfWrittenIsNotThereAndIsMadeWholeByTheNextTry(t *testing.T) {
	s, n := begunStore(t)
	startRun(t, s, "r1", runtest.Program(t, runSteps, plan.Takeover))
	a, data := pdf(t, 1<<20)
	if _, err := s.PutAttachment(t.Context(), "r1", a, data); err != nil {
		t.Fatal(err)
	}
	head := store.Root + "attachments/of/r1/" + a.SHA256 + "/ask"
	got, err := n.Client().Get(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	half := strings.Replace(string(got.Kvs[0].Value), `,"whole":true`, "", 1)
	if _, err := n.Client().Put(t.Context(), head, half); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Client().Delete(t.Context(), store.Root+"attachments/parts/r1/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AttachmentData(t.Context(), "r1", a.SHA256); errs.KindOf(err) != errs.NotFound {
		t.Errorf("half a file: %v", err)
	}
	if _, err := s.PutAttachment(t.Context(), "r1", a, data); err != nil {
		t.Fatal(err)
	}
	if back, err := s.AttachmentData(t.Context(), "r1", a.SHA256); err != nil || !bytes.Equal(back, data) {
		t.Errorf("%d bytes, %v", len(back), err)
	}
}

func TestManyWhoHandInAtOnceAreCountedRight(t *testing.T) {
	s, n := begunStore(t)
	startRun(t, s, "r1", runtest.Program(t, runSteps, plan.Takeover))
	const each = 10_000
	var wait sync.WaitGroup
	for range 8 {
		a, data := pdf(t, each)
		wait.Go(func() {
			if _, err := s.PutAttachment(t.Context(), "r1", a, data); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	total, err := n.Client().Get(t.Context(), store.Root+"attachments/total")
	if err != nil || string(total.Kvs[0].Value) != fmt.Sprint(8*each) {
		t.Errorf("they are counted as %s, %v", total.Kvs[0].Value, err)
	}
}
