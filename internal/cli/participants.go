package cli

import (
	"context"
	"fmt"
	"strings"

	"perdure/internal/client"
	"perdure/internal/estate"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// showParticipants tells how far participants are with their tasks of a run, and how those are reached of whom it waits.
func (s *session) showParticipants(list []wire.ParticipantProgress) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(s.Out, "\n%s\n", s.paint(bold, s.say(participantsTitle)))
	var g grid
	g.cells(cell{s.say(colParticipant), faint}, cell{s.say(colStep), faint}, cell{s.say(colState), faint}, cell{s.say(colSince), faint}, cell{s.say(colContacts), faint})
	for _, p := range list {
		for _, t := range p.Tasks {
			reached := ""
			if t.Waits() {
				reached = contacts(p.Contacts)
			}
			since := "-"
			if !t.Since.IsZero() {
				since = at(t.Since.UnixMilli())
			}
			g.cells(cell{text: s.named(p)}, cell{text: t.Step}, cell{s.stateOfTask(t), colourOfTask(t.State)}, cell{text: since}, cell{text: reached})
		}
	}
	g.write(s, s.Out, "  ")
}

// stateOfTask is how a task stands, with who has answered.
func (s *session) stateOfTask(t run.TaskOf) string {
	word := s.word(string(t.State))
	if t.By != "" {
		word = s.say(answeredBy, word, t.By)
	}
	return word
}

func colourOfTask(state run.TaskState) colour {
	switch state {
	case run.TaskDone:
		return green
	case run.TaskDeclined:
		return red
	case run.TaskUnanswered, run.TaskAcknowledged:
		return yellow
	case run.TaskAhead, run.TaskOver:
	}
	return plain
}

// named is a participant with its name for people, or a duty with who is on it.
func (s *session) named(p wire.ParticipantProgress) string {
	if p.Duty != nil {
		return p.Owner + " (" + s.onDuty(p.Duty.People) + ")"
	}
	if p.Title == "" {
		return p.Owner
	}
	return p.Owner + " (" + p.Title + ")"
}

// contacts are ways to reach a participant, the one to try first in front.
func contacts(list []estate.Contact) string {
	var ways []string
	for _, c := range list {
		ways = append(ways, strings.Join(strings.Fields(c.Name+" "+c.Phone+" "+c.Mail), " "))
	}
	return dash(strings.Join(ways, "; "))
}

// concernsTasks reports whether an entry may have changed of whom a run waits.
func concernsTasks(e run.Entry) bool {
	switch e.What {
	case run.Opened, run.Acknowledged, run.Completed, run.Declined, run.Retried, run.Skipped, run.TakenOver:
		return true
	case run.Took, run.Entered, run.Passed, run.Began, run.Ended, run.Finished, run.Started, run.Paused, run.Resumed, run.Cancelled, run.Approved,
		run.Delegated, run.AddedApprover, run.BrokeGlass, run.Reviewed, run.Attested:
	}
	return false
}

// waitingFor tells, a line each, of which participants a run waits, since when, and how they are reached. What cannot be read now is told at the
// next change.
func (s *session) waitingFor(ctx context.Context, c *client.Client, id string) string {
	state, err := c.Run(ctx, id)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, line := range s.waits(state) {
		fmt.Fprintf(&b, "  %s\n", s.paint(yellow, line))
	}
	return b.String()
}

func (s *session) waits(state wire.RunState) []string {
	var out []string
	for _, p := range state.Participants {
		for _, t := range p.Tasks {
			if t.Waits() {
				out = append(out, s.say(waitingFor, s.named(p), t.Step, s.stateOfTask(t), at(t.Since.UnixMilli()), contacts(p.Contacts)))
			}
		}
	}
	return out
}

// How many runs the status looks through, and how many of those that wait it tells of.
const (
	runsLooked = 200
	mostRuns   = 20
)

// unanswered tells of which participants runs wait. What cannot be read now is left out.
func (s *session) unanswered(ctx context.Context, c *client.Client) []string {
	runs, err := c.Runs(ctx, runsLooked)
	if err != nil {
		return nil
	}
	var out []string
	looked := 0
	for _, r := range runs {
		if len(r.Asked) == 0 || looked == mostRuns {
			continue
		}
		looked++
		state, err := c.Run(ctx, r.ID)
		if err != nil {
			continue
		}
		for _, line := range s.waits(state) {
			out = append(out, r.ID+": "+line)
		}
	}
	return out
}
