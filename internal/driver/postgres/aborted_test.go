package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/estate"
)

// picture is a member as a drill finds it: the files that stand in its directory and in its agent's, what its configuration says, and what its server
// says of settings, roles, slots, followers, ownership and data. Left out is what a server changes by living on: its log, statistics and locks.
func (m *member) picture() map[string]string {
	m.t.Helper()
	out := map[string]string{}
	for _, dir := range []string{m.opts.DataDir, m.opts.RunDir} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				if os.IsNotExist(err) { // it was there a moment ago
					return nil
				}
				return err
			}
			name, err := filepath.Rel(filepath.Dir(m.opts.DataDir), path)
			if err != nil {
				return err
			}
			depth := strings.Count(name, "/")
			switch {
			case e.IsDir() && (depth == 1 && strings.HasPrefix(e.Name(), "pg_") || e.Name() == "base" || e.Name() == "global"):
				out[name] = "directory"
				return filepath.SkipDir
			case strings.HasSuffix(name, ".conf"), strings.HasSuffix(name, ".signal"), e.Name() == "PG_VERSION":
				text, err := os.ReadFile(path)
				out[name] = string(text)
				return err
			case strings.HasSuffix(name, ".log"), e.Name() == "log": // a log of what sandboxes did is kept for people
			default:
				out[name] = e.Type().String()
			}
			return nil
		})
		m.must(err)
	}
	for what, sql := range map[string]string{
		"settings":  `select name || '=' || setting from pg_settings where source <> 'default' and name not like 'transaction%'`,
		"roles":     `select rolname || ' ' || rolcanlogin || ' ' || rolsuper || ' ' || rolreplication || ' ' || coalesce(rolconfig::text, '') from pg_roles`,
		"databases": `select datname || ' ' || datallowconn from pg_database`,
		"slots":     `select slot_name || ' ' || slot_type || ' ' || temporary from pg_replication_slots`,
		"followers": `select application_name || ' ' || state || ' ' || sync_state from pg_stat_replication`,
		"server":    `select pg_is_in_recovery() || ' since ' || pg_postmaster_start_time() || ' on timeline ' || timeline_id from pg_control_checkpoint()`,
		"guard":     `select relname || ' ' || relpersistence::text from pg_class where relnamespace = 'perdure'::regnamespace`,
		"data":      `select c.oid::regclass || ' ' || query_to_xml(format('select x::text as r from %s x order by 1', c.oid::regclass), true, false, '')::text from pg_class c where relkind = 'r' and relpersistence = 'p' and relnamespace in ('perdure'::regnamespace, 'public'::regnamespace)`,
	} {
		var said []string
		m.query(&said, fmt.Sprintf(`select coalesce(array_agg(x order by x), '{}') from (%s) as s(x)`, sql))
		out[what] = strings.Join(said, "\n")
	}
	return out
}

// TestAbortedDrillLeavesOwnerAndCopyExactlyAsTheyWere: real servers, a drill that is given up at each of its stages, and a picture of both members
// before and after.
func TestAbortedDrillLeavesOwnerAndCopyExactlyAsTheyWere(t *testing.T) {
	owner, replica := sandboxed(t)
	both := []*member{owner, replica}
	var before []map[string]string
	for _, m := range both {
		p := m.picture()
		if !strings.Contains(p["data"], "k3") || strings.HasPrefix(p["server"], "true") != (m == replica) || !strings.Contains(p["settings"], "max_connections=60") {
			t.Fatalf("the picture shows too little: %v", p)
		}
		before = append(before, p)
	}
	clone := func() {
		_, err := replica.CloneSandbox(replica.ctx(), "r1", time.Hour, nil)
		replica.must(err)
	}
	open := func() {
		clone()
		_, err := replica.OpenSandbox(replica.ctx(), "r1", []string{"test-1"})
		replica.must(err)
	}
	stages := map[string]func(){
		"while it is cloned": func() {
			cut, cancel := context.WithCancel(t.Context())
			if _, err := replica.CloneSandbox(cut, "r1", time.Hour, func(string, int64, int64) { cancel() }); err == nil {
				t.Fatal("a clone that was cut short is complete")
			}
		},
		"once it is cloned": clone,
		"once it is verified": func() {
			open()
			_, err := replica.VerifySandbox(replica.ctx(), "r1", `select id, true from public.account`)
			replica.must(err)
		},
		"when its server is killed": func() {
			open()
			if pid := postmasterOf(replica.sandboxDir()); pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
				t.Fatal("it does not run")
			}
		},
		"when its agent is another one": func() {
			clone()
			replica.releaseDriver()
			replica.attachDriver()
		},
		"while it is masked": func() {
			open()
			cut, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			_, _ = replica.MaskSandbox(cut, "r1", []estate.Mask{{Table: "public.account", Column: "id", As: estate.MaskHash}})
		},
	}
	for _, name := range slices.Sorted(maps.Keys(stages)) {
		stages[name]()
		if s, err := replica.Sandbox(t.Context()); err != nil || s.Run != "r1" {
			t.Errorf("given up %s: there is no sandbox of it: %+v, %v", name, s, err)
		}
		replica.must(replica.DiscardSandbox(replica.ctx(), "r1"))
		nothingLeft(t, replica)
		for i, m := range both {
			if diff := cmp.Diff(before[i], m.picture()); diff != "" {
				t.Errorf("given up %s, %s: before (-), after (+):\n%s", name, m.opts.Member, diff)
			}
		}
	}
}
