package calendar

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
)

// Approval is a person's word 批准 that runs may begin in a window.
type Approval struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	// Factor is when the person had shown a second factor; zero: not.
	Factor time.Time `json:"factor,omitzero"`
}

// Approved is what people have said of a window, as it stood: each once.
type Approved struct {
	Digest    string     `json:"digest"`
	Approvals []Approval `json:"approvals"`
}

// Approvals are those that are kept, by the name of the window. A value is never changed.
type Approvals map[string]Approved

// Bounds of what is kept of one window.
const (
	mostApprovals = 8
	mostReason    = 300 // characters
)

// Approve adds a person's approval of a window that has the digest; approvals of the window as it stood before are dropped. Who has approved it as
// it stands has said nothing new: the answer is what is there.
func (a Approvals) Approve(window, digest string, by Approval) (Approvals, error) {
	if err := checkReason(by.Reason); err != nil {
		return a, err
	}
	now := a[window]
	if now.Digest != digest {
		now = Approved{Digest: digest}
	}
	switch {
	case slices.ContainsFunc(now.Approvals, func(x Approval) bool { return samePerson(x.By, by.By) }):
		return a, nil
	case len(now.Approvals) == mostApprovals:
		return a, errs.New(errs.Refused, "window %s was approved by %s: more are of no use", window, names(now.Approvals))
	}
	now.Approvals = append(slices.Clone(now.Approvals), by)
	out := maps.Clone(a)
	if out == nil {
		out = Approvals{}
	}
	out[window] = now
	return out, nil
}

// Revoke takes back 撤销 all approvals of a window. What has begun in it goes on.
func (a Approvals) Revoke(window, reason string) (Approvals, error) {
	if err := checkReason(reason); err != nil {
		return a, err
	}
	if len(a[window].Approvals) == 0 {
		return a, errs.New(errs.Conflict, "window %s is not approved: there is nothing to revoke", window)
	}
	out := maps.Clone(a)
	delete(out, window)
	return out, nil
}

// Keep leaves out what is of no window with the digest; dropped are their names, in order.
func (a Approvals) Keep(digests map[string]string) (kept Approvals, dropped []string) {
	kept = maps.Clone(a)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if digests[name] != a[name].Digest {
			delete(kept, name)
			dropped = append(dropped, name)
		}
	}
	return kept, dropped
}

// Waiting names the windows that are not approved as they stand, in order.
func (a Approvals) Waiting(digests map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(digests)) {
		if a[name].Digest != digests[name] {
			out = append(out, name)
		}
	}
	return out
}

func checkReason(reason string) error {
	switch n := len([]rune(strings.TrimSpace(reason))); {
	case n == 0:
		return errs.New(errs.Invalid, "a reason is missing: it stands in the audit log")
	case n > mostReason:
		return errs.New(errs.Invalid, "the reason has %d characters, the limit is %d", n, mostReason)
	}
	return nil
}

// samePerson: nobody gets a name that differs from another one by its case alone.
func samePerson(a, b string) bool { return strings.EqualFold(a, b) }

func names(list []Approval) string {
	var out []string
	for _, x := range list {
		out = append(out, x.By)
	}
	return strings.Join(out, ", ")
}

// Digests tells the windows of the calendars by their names, each with a digest of what it allows: a change of anything but its title, and of what its
// calendar is called for people, is another digest.
func Digests(calendars []Calendar) map[string]string {
	out := map[string]string{}
	for i := range calendars {
		for _, w := range calendars[i].Windows {
			out[w.Name] = digest(calendars[i].Name, calendars[i].TimeZone, w)
		}
	}
	return out
}

// digest of a window (W1). The order of its lists means nothing, and modes that are left out are named, so that nobody has approved one that comes later.
func digest(calendar, timeZone string, w Window) string {
	data, err := json.Marshal(struct {
		Form, Calendar, TimeZone, Name string
		Modes                          []plan.Mode
		Systems                        []estate.SystemID
		Units                          []estate.UnitID
		Plans                          []string
		Span                           Span
	}{
		"perdure window 1", calendar, timeZone, w.Name, inOrder(w.modes()), inOrder(w.Systems), inOrder(w.Units), inOrder(w.Plans), w.Span,
	})
	if err != nil {
		panic(err) // nothing in it can fail
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func inOrder[T ~string](list []T) []T { return slices.Compact(slices.Sorted(slices.Values(list))) }

// modes that it is for.
func (w *Window) modes() []plan.Mode {
	if len(w.Modes) == 0 {
		return windowed()
	}
	return w.Modes
}

// Standing is how the windows of an estate stand, by their names: the digest of each, and the approvals of it as it is now.
type Standing map[string]Approved

// Standing holds approvals against the windows of the book.
func (b *Book) Standing(a Approvals) Standing {
	out := Standing{}
	for i := range b.windows {
		w := &b.windows[i]
		now := Approved{Digest: w.digest}
		if have := a[w.Name]; have.Digest == w.digest {
			now.Approvals = have.Approvals
		}
		out[w.Name] = now
	}
	return out
}

// by gives the approvals of a window that count for who begins a run in it: those of other people (W2).
func (s Standing) by(window, starter string) []Approval {
	return slices.DeleteFunc(slices.Clone(s[window].Approvals), func(x Approval) bool { return samePerson(x.By, starter) })
}

// lacks says why nobody may begin a run in a window that is open.
func (s Standing) lacks(window, starter string) string {
	const how = "(perdure calendar approve %s --reason TEXT)"
	if len(s[window].Approvals) > 0 {
		return fmt.Sprintf("window %s was approved by %s alone, and who approves is never who starts (W2): another commander approves it "+how, window, starter, window)
	}
	return fmt.Sprintf("window %s is open and not approved (W1): a commander who does not start the run approves it "+how, window, window)
}
