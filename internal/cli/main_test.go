package cli_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"perdure/internal/cli"
)

var update = flag.Bool("update", false, "rewrite what is expected")

func TestMain(m *testing.M) {
	// Times are shown in local time; tests need one zone. Set before package time looks.
	if err := os.Setenv("TZ", "UTC"); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"perdure": func() {
			os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}))
		},
	})
}

func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("EXAMPLES", examples)
			e.Setenv("LANG", "en_GB.UTF-8")
			return writeMoved(examples, filepath.Join(e.WorkDir, "moved.yaml"))
		},
	})
}

// result is what a call of the command line came to.
type result struct {
	code     int
	out, err string
}

type call struct {
	env  map[string]string
	in   string
	ask  bool
	tty  bool
	args []string
}

func run(ctx context.Context, c call) result {
	var out, errOut bytes.Buffer
	code := cli.Main(ctx, c.args, cli.Streams{
		In: strings.NewReader(c.in), Out: &out, Err: &errOut, Ask: c.ask, Tty: c.tty,
		Getenv: func(name string) string { return c.env[name] },
	})
	return result{code, out.String(), errOut.String()}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: want (-), got (+):\n%s", name, diff)
	}
}

// writeMoved writes the example with twelve slots given from u1 to u2.
func writeMoved(examples, path string) error {
	sites, err := os.ReadFile(filepath.Join(examples, "estate", "sites.yaml"))
	if err != nil {
		return err
	}
	bank, err := os.ReadFile(filepath.Join(examples, "estate", "corebank.yaml"))
	if err != nil {
		return err
	}
	text := strings.NewReplacer("0-511", "0-499", "512-1023", "500-1023").Replace(string(bank))
	return os.WriteFile(path, []byte(string(sites)+"---\n"+text), 0o600)
}
