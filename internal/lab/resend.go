package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os/exec"
	"strings"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/lab/history"
	"perdure/internal/lab/load"
	"perdure/internal/lab/story"
)

const (
	// resendWait bounds how long sending again what diverged may take, with the looking for it.
	resendWait = 2 * time.Minute
	// stillUnderWay is how long after it was sent a call may not be in the history yet.
	stillUnderWay = history.Patience + 2*time.Second
)

// resending is what the process that sends again is told.
type resending struct {
	// Began is when the history began whose clock the calls are put on.
	Began    history.Instant `json:"began"`
	Site     load.Site       `json:"site"`
	Requests []history.Call  `json:"requests"`
}

// Resend is that process: it sends each request again and tells each call, one a line. It is a process of its own because it stands for
// people's systems, which the product is no part of.
func Resend(ctx context.Context, in io.Reader, out io.Writer) error {
	var work resending
	if err := json.NewDecoder(in).Decode(&work); err != nil {
		return errs.New(errs.Invalid, "cannot read what is to be sent again: %w", err)
	}
	lines := json.NewEncoder(out)
	return load.Resend(ctx, work.Site, history.Follow(work.Began), work.Requests, func(c history.Call) error { return lines.Encode(c) })
}

// resend brings in again what the unit's former owner had and its successor had not: for each transaction of the product's list the request
// that the load sent for it, through a gateway at the present owner's site. What came of it is for the checker to say.
func (r *running) resend(ctx context.Context, binary string, out *story.Progress, a story.Resend) error {
	ctx, cancel := context.WithTimeout(ctx, resendWait)
	defer cancel()
	rec, err := r.groupOf(ctx, a.Unit)
	if err != nil {
		return err
	}
	report, err := r.divergence(ctx, rec)
	if err != nil {
		return err
	}
	var list driver.Diverged
	if err := json.Unmarshal(report.Report, &list); err != nil {
		return errs.New(errs.Internal, "divergence %s: %w", report.ID, err)
	}
	if all := len(list.Transactions); list.Total > all {
		return errs.New(errs.Refused, "the list has %d of %d transactions: let fewer diverge", all, list.Total)
	}
	out.Note(fmt.Sprintf("the requests of %d transactions are looked for", len(list.Transactions)))
	var sent asked
	bound, stop := context.WithTimeout(ctx, stillUnderWay)
	defer stop()
	err = until(bound, "what diverged cannot be sent again", func() error {
		sent, err = requestsOf(r.hist.SoFar(), list.Transactions)
		return err
	})
	if err != nil {
		return err
	}
	work := resending{Began: sent.began, Requests: sent.requests}
	for n, id := range r.layout.Sites {
		if r.hasGateway(id) && (work.Site.ID == "" || id == rec.OwnerSite()) {
			work.Site = load.Site{ID: id, Gateways: r.layout.Gateways(id), Hosts: r.layout.Hosts(n + 1)}
		}
	}
	first := sent.highest + 1
	r.loadMu.Lock()
	if r.gen != nil {
		first = r.gen.Number(len(work.Requests))
	}
	r.loadMu.Unlock()
	for i := range work.Requests {
		work.Requests[i].ID = first + uint64(i)
	}
	tally, err := r.sendAgain(ctx, binary, out, work)
	out.Say("   of %d transactions that %s listed, %s", len(list.Transactions), report.Reporter, tally.says(sent.foreign))
	return err
}

// sendAgain runs the process and writes its calls into the history.
func (r *running) sendAgain(ctx context.Context, binary string, out *story.Progress, work resending) (resent, error) {
	tally := resent{}
	text, err := json.Marshal(work)
	if err != nil {
		return tally, errs.New(errs.Internal, "cannot write what is to be sent again: %w", err)
	}
	var problem bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, "lab", "resend")
	cmd.Stdin, cmd.Stderr, cmd.Dir = bytes.NewReader(text), &problem, r.layout.Dir
	lines, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return tally, errs.New(errs.Unavailable, "cannot send again: %w", err)
	}
	calls := json.NewDecoder(lines)
	for {
		var c history.Call
		if err = calls.Decode(&c); err != nil {
			break
		}
		if err = r.hist.Append(history.Event{Call: &c}); err != nil {
			break
		}
		tally.add(c)
		out.Note(fmt.Sprintf("%d of %d sent again", tally.all, len(work.Requests)))
	}
	if errors.Is(err, io.EOF) {
		err = nil
	} else {
		_ = cmd.Cancel() // what it says further is not kept
	}
	if ended := cmd.Wait(); ended != nil {
		err = errs.New(errs.Unavailable, "%w: %s", ended, strings.TrimSpace(problem.String()))
	}
	switch {
	case ctx.Err() != nil:
		return tally, errs.New(errs.Unavailable, "%d of %d were sent again within %v: %w", tally.all, len(work.Requests), resendWait, context.Cause(ctx))
	case err == nil && tally.all < len(work.Requests):
		err = errs.New(errs.Internal, "%d of %d were sent again", tally.all, len(work.Requests))
	}
	return tally, err
}

// resent counts what became of what was sent again, for people who watch.
type resent struct{ all, replayed, committed, refused, unanswered int }

func (t *resent) add(c history.Call) {
	t.all++
	switch {
	case c.Outcome == history.Unresolved || c.Outcome == history.Wrong:
		t.unanswered++
	case c.Outcome == history.Refused:
		t.refused++
	case c.Stamped == "replayed":
		t.replayed++
	default:
		t.committed++
	}
}

// says tells the counts; foreign are listed transactions that are not of the load.
func (t *resent) says(foreign int) string {
	text := fmt.Sprintf("%d were sent again: %d answered from their record, %d carried out, %d refused", t.all, t.replayed, t.committed, t.refused)
	if t.unanswered > 0 {
		text += fmt.Sprintf(", %d without a proper answer", t.unanswered)
	}
	if foreign > 0 {
		text += fmt.Sprintf("; %d are none of the load's", foreign)
	}
	return text
}

// asked is what the history knows of the requests of listed transactions.
type asked struct {
	began    history.Instant
	requests []history.Call // in the list's order; of each what it asks for, and the call that asked for it first
	highest  uint64         // of the numbers of all calls
	foreign  int            // listed transactions of others than the load's clients, such as credits of an outbox
}

// requestsOf finds the requests of the listed transactions in the history. One that is not there yet may still be under way.
func requestsOf(events iter.Seq2[history.Event, error], listed []driver.DivergedTransaction) (asked, error) {
	type scope struct{ caller, routingKey, key string }
	wanted := map[scope]*history.Call{}
	for _, t := range listed {
		wanted[scope{t.Caller, t.RoutingKey, t.Key}] = nil
	}
	out := asked{}
	clients := map[string]bool{}
	for e, err := range events {
		if err != nil {
			return out, final{err}
		}
		switch {
		case e.Begin != nil:
			out.began = e.Begin.At
		case e.Client != nil:
			clients[e.Client.Caller] = true
		case e.Call != nil:
			out.highest = max(out.highest, e.Call.ID)
			s := scope{e.Call.Caller, e.Call.From, e.Call.Key}
			if known, is := wanted[s]; is && known == nil {
				wanted[s] = &history.Call{
					Phase: history.Resend, First: cmp.Or(e.Call.First, e.Call.ID), Caller: s.caller, Key: s.key, Op: e.Call.Op, From: s.routingKey, To: e.Call.To, Amount: e.Call.Amount, Unit: e.Call.Unit,
				}
			}
		}
	}
	taken := map[scope]bool{} // a list that names a key twice is wrong, which is for the checker to say
	for _, t := range listed {
		s := scope{t.Caller, t.RoutingKey, t.Key}
		switch r := wanted[s]; {
		case taken[s]:
		case !clients[t.Caller]:
			out.foreign++
		case r == nil:
			return out, errs.New(errs.NotFound, "no call of the load has key %s of %s by %s, which is listed", t.Key, t.RoutingKey, t.Caller)
		default:
			out.requests = append(out.requests, *r)
		}
		taken[s] = true
	}
	return out, nil
}
