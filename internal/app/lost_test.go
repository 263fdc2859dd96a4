package app

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"perdure/internal/evidence"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// dispatched is within what the next step of a run is begun after the node that carries it out was lost. It is held exactly in virtual time
// (TestNextStepIsDispatchedWithinTenSecondsOfTheLossOfItsRunner); real processes on a busy machine have three times as long.
const dispatched = 10 * time.Second

// TestNextStepIsDispatchedSoonAfterItsNodeIsKilled: real processes; the node that has the run is killed, and then the one that leads the store. No
// effect is repeated and none is lost.
func TestNextStepIsDispatchedSoonAfterItsNodeIsKilled(t *testing.T) {
	t.Parallel() // it waits for leases and elections more than for the machine
	r := newRolled(t, "a", "b", "c")
	var text strings.Builder
	text.WriteString("apiVersion: perdure/v1\nkind: Plan\nname: long\nmodes: [drill]\nsteps:\n")
	var steps []string
	for i := range 60 {
		steps = append(steps, fmt.Sprint("s", i))
		fmt.Fprintf(&text, "- {id: s%d, notify: {to: [operator], text: s%[1]d}}\n- {id: w%[1]d, wait: {for: 100ms}}\n", i)
	}
	if _, err := r.clients.ApplyManifest(t.Context(), []byte(text.String()), 0, false); err != nil {
		t.Fatal(err)
	}
	if _, err := r.clients.StartRun(t.Context(), wire.StartRun{Plan: "long", Mode: plan.Drill, ID: "long"}); err != nil {
		t.Fatal(err)
	}
	effects := func() int {
		lines, err := r.effects.lines()
		if err != nil {
			t.Fatal(err)
		}
		return len(lines)
	}
	for _, kill := range []struct {
		what string
		who  func() (node, seen string)
	}{
		{"has the run", func() (string, string) {
			journal, err := r.clients.RunJournal(t.Context(), "long", 0)
			if err != nil || len(journal) == 0 {
				return "", fmt.Sprint(err)
			}
			name, _ := strings.CutPrefix(journal[len(journal)-1].By, "node:")
			return name, ""
		}},
		{"leads the store", func() (string, string) {
			e, err := r.clients.Estate(t.Context())
			return e.Store.Leader, fmt.Sprint(err)
		}},
	} {
		before := effects()
		r.until("the run goes on", func() (bool, string) { return effects() > before+3, fmt.Sprint(effects()) })
		var name string
		r.until("it is known who "+kill.what, func() (bool, string) {
			var seen string
			name, seen = kill.who()
			return r.nodes[name] != nil, name + " " + seen
		})
		r.end(name, syscall.SIGKILL)
		died, had := time.Now(), effects()
		r.until("the next step is there", func() (bool, string) { return effects() > had, fmt.Sprint(effects()) })
		took := time.Since(died)
		t.Logf("the node that %s was %s; the next step was there %s after its death", kill.what, name, took)
		if took > 3*dispatched {
			t.Errorf("the next step was there %s after the death of the node that %s", took, kill.what)
		}
		r.launch(name, r.old)
		r.ready(name)
	}
	r.heads([]string{"long"}, "is done", func(h wire.Run) bool { return h.Outcome == run.Done })
	r.once([]string{"long"}, steps, nil)
}

// packOf asks a node for the pack of a run until it has one, and verifies it.
func (r *rolled) packOf(name, id string, known note.Verifiers) []byte {
	r.t.Helper()
	var pack bytes.Buffer
	r.until(name+" gives the pack of "+id, func() (bool, string) {
		pack.Reset()
		_, err := r.client(name).EvidencePack(r.t.Context(), id, &pack)
		return err == nil, fmt.Sprint(err)
	})
	verdict, err := evidence.Verify(bytes.NewReader(pack.Bytes()), known, nil)
	if err != nil || !verdict.Good() || verdict.Run != id {
		r.t.Fatalf("the pack of %s at %s: %+v, %v", id, name, verdict, err)
	}
	return pack.Bytes()
}

// leavesOf reads the entries of the log in a pack, by their places, and the checkpoint.
func leavesOf(t *testing.T, pack []byte) (map[int64][]byte, evidence.Checkpoint) {
	t.Helper()
	leaves := map[int64][]byte{}
	for rest := pack; ; {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		words := strings.Fields(string(line))
		switch {
		case !ok || len(words) < 3:
			if !strings.HasPrefix(string(line), "perdure evidence pack") {
				t.Fatalf("the pack has no checkpoint: %q", line)
			}
			rest = after
			continue
		case words[0] == "perdure":
			rest = after
			continue
		}
		size, err := strconv.Atoi(words[len(words)-2])
		if err != nil || size > len(after) {
			t.Fatalf("section %q: %v", line, err)
		}
		data := after[:size]
		switch words[0] {
		case "leaf":
			place, err := strconv.ParseInt(words[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			leaves[place] = data
		case "checkpoint":
			signed, _, _ := strings.Cut(string(data), "\n\n")
			c, err := evidence.ParseCheckpoint(signed + "\n")
			if err != nil {
				t.Fatal(err)
			}
			return leaves, c
		}
		rest = after[size+1:]
	}
}

// continues looks that the log as a node has it now begins with what an earlier checkpoint says: entry for entry the same root.
func (r *rolled) continues(name string, earlier evidence.Checkpoint, known note.Verifiers) {
	r.t.Helper()
	var stretch bytes.Buffer
	if _, err := r.client(name).EvidenceStretch(r.t.Context(), 0, &stretch); err != nil {
		r.t.Fatal(err)
	}
	if verdict, err := evidence.Verify(bytes.NewReader(stretch.Bytes()), known, nil); err != nil || !verdict.Good() {
		r.t.Fatalf("the log at %s: %+v, %v", name, verdict, err)
	}
	leaves, now := leavesOf(r.t, stretch.Bytes())
	if now.Origin != earlier.Origin || now.Tree.N < earlier.Tree.N {
		r.t.Fatalf("the log of %s at %s has %d entries, the one of %s had %d", now.Origin, name, now.Tree.N, earlier.Origin, earlier.Tree.N)
	}
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(places []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(places))
		for i, p := range places {
			out[i] = hashes[p]
		}
		return out, nil
	})
	for i := range earlier.Tree.N {
		more, err := tlog.StoredHashes(i, leaves[i], read)
		if err != nil {
			r.t.Fatal(err)
		}
		hashes = append(hashes, more...)
	}
	if root, err := tlog.TreeHash(earlier.Tree.N, read); err != nil || root != earlier.Tree.Hash {
		r.t.Errorf("the log at %s contradicts the checkpoint over its first %d entries: %v", name, earlier.Tree.N, err)
	}
}

const provenPlan = `apiVersion: perdure/v1
kind: Plan
name: proven
modes: [drill]
steps:
- {id: one, notify: {to: [operator], text: one}}
- {id: agree, approval: {of: [operator], text: Agreed}}
- {id: two, notify: {to: [operator], text: two}}
`

// TestLogSurvivesTheLossOfAnyOneSite: each of three nodes is killed in turn and its data folder removed. The pack of every run that was made before is
// made at another site as it was, verifies by the keys of before, and the log continues the checkpoint of the first pack. Then the site joins again,
// with nothing, and the next one is lost.
func TestLogSurvivesTheLossOfAnyOneSite(t *testing.T) {
	t.Parallel() // it waits for leases and elections more than for the machine
	sites := []string{"a", "b", "c"}
	r := newRolled(t, sites...)
	if _, err := r.clients.ApplyManifest(t.Context(), []byte(provenPlan), 0, false); err != nil {
		t.Fatal(err)
	}
	done := func(id string) {
		t.Helper()
		if _, err := r.clients.StartRun(t.Context(), wire.StartRun{Plan: "proven", Mode: plan.Drill, ID: id}); err != nil {
			t.Fatal(err)
		}
		r.ask([]string{id}, "agree")
		if _, err := r.other.SayToRun(t.Context(), id, wire.RunWord{What: run.Approved, Step: "agree", For: "operator", Text: "fine"}); err != nil {
			t.Fatal(err)
		}
		r.heads([]string{id}, "is done", func(h wire.Run) bool { return h.Outcome == run.Done })
	}
	done("first")
	_, earlier := leavesOf(t, r.packOf("a", "first", r.known()))
	made := []string{"first"}
	for i, lost := range sites {
		known := r.known()
		kept := map[string]map[int64][]byte{}
		for _, id := range made {
			kept[id], _ = leavesOf(t, r.packOf(lost, id, known))
		}
		other := sites[(i+1)%len(sites)]
		r.end(lost, syscall.SIGKILL)
		if err := os.RemoveAll(r.configs[lost].DataDir); err != nil {
			t.Fatal(err)
		}
		for _, id := range made {
			now, checkpoint := leavesOf(t, r.packOf(other, id, known))
			if checkpoint.Tree.N < earlier.Tree.N {
				t.Errorf("the log has become shorter: %d entries after %d", checkpoint.Tree.N, earlier.Tree.N)
			}
			missing := 0
			for place, data := range kept[id] {
				if place != slices.Max(slices.Collect(maps.Keys(kept[id]))) && !bytes.Equal(now[place], data) { // the last one is that of the pack itself
					missing++
				}
			}
			if missing > 0 || len(kept[id]) < 6 {
				t.Errorf("without %s the pack of run %s at %s lacks %d of %d entries", lost, id, other, missing, len(kept[id]))
			}
		}
		r.continues(other, earlier, known)
		next := fmt.Sprint("without-", lost)
		done(next)
		made = append(made, next)
		r.rejoin(lost, other)
	}
	r.continues("a", earlier, r.known())
}

// rejoin has a node that has lost everything join the store again.
func (r *rolled) rejoin(name, at string) {
	r.t.Helper()
	r.until(name+" is taken out", func() (bool, string) {
		err := r.client(at).ShrinkStore(r.t.Context(), name)
		return err == nil, fmt.Sprint(err)
	})
	c := r.configs[name]
	var members []wire.StoreMember
	r.until(name+" may join", func() (bool, string) {
		var err error
		members, err = r.client(at).GrowStore(r.t.Context(), name, "https://"+c.Store.ListenPeer)
		return err == nil, fmt.Sprint(err)
	})
	c.Store.Join, c.Store.Members = true, map[string]string{}
	for _, m := range members {
		c.Store.Members[m.Name] = m.PeerURL[0]
	}
	r.configs[name] = c
	r.launch(name, r.old)
	r.ready(name)
	r.until(name+" votes", func() (bool, string) {
		e, err := r.client(at).Estate(r.t.Context())
		i := slices.IndexFunc(e.Store.Members, func(m wire.StoreMember) bool { return m.Name == name })
		return err == nil && i >= 0 && !e.Store.Members[i].Learner, fmt.Sprint(e.Store.Members, err)
	})
}
