// Package seeded lists the bugs that the lab has to catch: each can be built into the product's own programs behind a build tag, and
// each comes with a story that provokes it on real processes and with the finding that has to name it. The same story passes without it.
//
// A list of checks that never failed proves nothing: this is how it is known that they can. The numbers are those of the list of
// seeded bugs in docs/reliability.md.
package seeded

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"perdure/internal/errs"
	"perdure/internal/lab/checker"
)

// Bug is one seeded bug.
type Bug struct {
	Number int
	// Name says what is wrong, for people.
	Name string
	// Findings are what the checker may call it: at least one of them has to be there.
	Findings []checker.Name
	// Always: it is part of every test run, not of the whole matrix alone.
	Always bool
}

// Tag is the build tag that puts the bug in.
func (b Bug) Tag() string { return fmt.Sprintf("seed%d", b.Number) }

// String names the bug.
func (b Bug) String() string { return fmt.Sprintf("seeded bug %d, %s", b.Number, b.Name) }

//go:embed stories/*.story
var stories embed.FS

// Story is the text of the story that provokes the bug.
func (b Bug) Story() string {
	text, err := stories.ReadFile(fmt.Sprintf("stories/%02d.story", b.Number))
	if err != nil {
		panic(err) // the list and the folder belong together; a test compares them
	}
	return string(text)
}

// Bugs lists all that can be seeded here, by number.
func Bugs() []Bug {
	return []Bug{
		{Number: 1, Name: "a repeated key is answered without the barrier", Findings: []checker.Name{checker.LostWrite}, Always: true},
		{Number: 2, Name: "a cancelled COMMIT counts as a success", Findings: []checker.Name{checker.LostWrite}},
		{Number: 3, Name: "the outbox sends before the barrier", Findings: []checker.Name{checker.MoneyCreated}},
		// What the promoted copy answered is executed again by the owner where the client asks again, and missing where it does not.
		{Number: 4, Name: "the guard's row is logged", Findings: []checker.Name{checker.LostWrite, checker.ChangedResult}, Always: true},
		{Number: 5, Name: "an owner whose server died is still open", Findings: []checker.Name{checker.OutlivedOwnership}},
		{Number: 6, Name: "a copy is promoted without being severed", Findings: []checker.Name{checker.UnseveredPromotion}, Always: true},
		{Number: 9, Name: "the configuration is changed before the store on a shrink", Findings: []checker.Name{checker.LostWrite}},
		{Number: 10, Name: "the store is changed before the wait is proven on a growth", Findings: []checker.Name{checker.LostWrite}, Always: true},
		{Number: 11, Name: "one of two copies is enough", Findings: []checker.Name{checker.LostWrite}},
		{Number: 12, Name: "a clone of a copy is taken for the copy", Findings: []checker.Name{checker.LostWrite}},
		{Number: 14, Name: "a recovered store keeps the in-sync set of a member that lagged", Findings: []checker.Name{checker.LostWrite}},
		{Number: 15, Name: "incarnations are not compared", Findings: []checker.Name{checker.OldEpochWrite}},
		{Number: 18, Name: "an owner needs a lease of the control plane", Findings: []checker.Name{checker.ClosedTooLong}},
		// It never becomes a copy that may take over; where it is taken for one all the same, it lacks what it was told of since its return.
		{Number: 26, Name: "a rewound directory is started with the new owner's files", Findings: []checker.Name{checker.ClosedTooLong, checker.LostWrite}},
		{Number: 27, Name: "what diverged is applied again without its key", Findings: []checker.Name{checker.DoubledEffect}},
		{Number: 28, Name: "an answer of an older ownership is delivered", Findings: []checker.Name{checker.LateAnswer}},
		{Number: 29, Name: "an asynchronous copy that is ahead takes over", Findings: []checker.Name{checker.WrongStamp, checker.ChangedResult}},
		{Number: 30, Name: "the probe commits", Findings: []checker.Name{checker.FalseSwitch}},
		{Number: 31, Name: "a hold has no end", Findings: []checker.Name{checker.EndlessHold}},
	}
}

// Choose reads a choice of bugs: "always" (those of every test run), "all", or numbers such as "1,4".
func Choose(text string) ([]Bug, error) {
	switch text {
	case "all":
		return Bugs(), nil
	case "always":
		return slices.DeleteFunc(Bugs(), func(b Bug) bool { return !b.Always }), nil
	}
	var chosen []Bug
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		i := slices.IndexFunc(Bugs(), func(b Bug) bool { return b.Number == n })
		if err != nil || i < 0 {
			var known []string
			for _, b := range Bugs() {
				known = append(known, strconv.Itoa(b.Number))
			}
			return nil, errs.New(errs.Invalid, "seeded bug %q is not known; allowed: all, always, or some of %s", word, strings.Join(known, ","))
		}
		chosen = append(chosen, Bugs()[i])
	}
	return chosen, nil
}
