package gateway

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain finds goroutines that a gateway left behind.
func TestMain(m *testing.M) {
	code := m.Run()
	testClient.CloseIdleConnections()
	if code == 0 {
		// fasthttp's pool ends by itself at its next look, up to 10 s after the server's end; its clock for dates never does.
		err := goleak.Find(goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
