package cli

import (
	"regexp"
	"slices"
	"testing"

	"perdure/internal/unit"
)

func TestEveryPhraseHasBothLanguagesWithTheSameVerbs(t *testing.T) {
	verb := regexp.MustCompile(`%[a-z]`)
	for i, p := range phrases {
		if p.en == "" || p.zh == "" {
			t.Errorf("phrase %d: %q, %q", i, p.en, p.zh)
		}
		if !slices.Equal(verb.FindAllString(p.en, -1), verb.FindAllString(p.zh, -1)) {
			t.Errorf("phrase %q has other verbs than %q", p.en, p.zh)
		}
	}
}

func TestEveryPhaseModeAndRoleHasAChineseWord(t *testing.T) {
	var all []string
	for _, p := range []unit.Phase{unit.Accepting, unit.Closing, unit.Drained, unit.Promotion, unit.Growing, unit.Done, unit.Failed} {
		all = append(all, string(p))
	}
	for _, m := range []unit.Mode{unit.Takeover, unit.SwitchBack, unit.Failover, unit.Emergency} {
		all = append(all, string(m))
	}
	for _, s := range []unit.State{unit.Open, unit.Closed, unit.Promoting} {
		all = append(all, string(s))
	}
	for _, r := range []unit.Role{unit.SyncRole, unit.AsyncRole, unit.PinnedRole} {
		all = append(all, string(r))
	}
	for _, w := range all {
		if words[w] == "" {
			t.Errorf("%q has no Chinese word", w)
		}
	}
}

func TestWideCharactersTakeTwoColumns(t *testing.T) {
	for text, want := range map[string]int{"unit": 4, "单元": 4, "a → b": 5, "主动接管 x": 10, "\uff08甲\uff09": 6} {
		if got := width(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
