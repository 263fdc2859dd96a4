package plan_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"perdure/internal/plan"
)

var someScope = plan.Scope{
	Params: map[string]any{"to": "b", "n": 3.0, "on": true, "list": []any{1.0, "a"}},
	Result: map[string]any{"inSync": 2.0},
	Run:    map[string]any{"mode": "takeover"},
	Step: func(name string) (map[string]any, bool) {
		return map[string]any{"outcome": "done", "outputs": map[string]any{"x": 1.5}, "error": "", "attempts": 1.0}, name == "before"
	},
}

func TestWhatAnExpressionGivesComesBackFromJSONTheSame(t *testing.T) {
	for text, want := range map[string]any{
		`1`: 1.0, `2u`: 2.0, `1.5`: 1.5, `-9007199254740992`: -9007199254740992.0, `"a"`: "a", `true`: true, `null`: nil,
		`[]`: []any{}, `{}`: map[string]any{}, `[1, 2]`: []any{1.0, 2.0}, `{"a": [1u], "b": [2u]}`: map[string]any{"a": []any{1.0}, "b": []any{2.0}},
		`params.list + [2]`: []any{1.0, "a", 2.0}, `[1, 2].map(x, {"v": x})`: []any{map[string]any{"v": 1.0}, map[string]any{"v": 2.0}},
		`steps.before.outputs.x + 1.0`: 1.5 + 1, `result.inSync > 1`: true, `steps["before"].outcome`: "done", `params`: map[string]any{"to": "b", "n": 3.0, "on": true, "list": []any{1.0, "a"}},
	} {
		got, err := plan.Evaluate(map[string]string{"v": text}, someScope)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		stored, err := json.Marshal(got)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var back map[string]any
		if err := json.Unmarshal(stored, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]any{"v": want}, back); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		if diff := cmp.Diff(got, back); diff != "" {
			t.Errorf("%s comes back from JSON differently: %s", text, diff)
		}
	}
}

func TestWhatJSONCannotKeepIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`timestamp("2026-01-01T00:00:00Z")`: "Timestamp, which cannot be kept",
		`duration("1s")`:                    "Duration, which cannot be kept",
		`[duration("1s")]`:                  "Duration, which cannot be kept",
		`{"a": b"xy"}`:                      "bytes, which cannot be kept",
		`b"xy"`:                             "bytes, which cannot be kept",
		`{1: "a"}`:                          "a map with a int as key",
		`9007199254740993`:                  "cannot be kept exactly",
		`18446744073709551615u`:             "cannot be kept exactly",
		`1.0 / 0.0`:                         "not a number that can be kept",
		`type(1)`:                           "cannot be kept",
	} {
		v, err := plan.Evaluate(map[string]string{"v": text}, someScope)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", text, v, err, want)
		}
	}
}

// doubled doubles a list or text so often that nobody can hold what comes of it.
func doubled(item string) string { return "[" + item + "]" + strings.Repeat(".map(a,a+a)", 80) + "[0]" }

func TestExpressionsThatWouldNeverEndAreEndedSoon(t *testing.T) {
	loop := "[1,2,3,4,5,6,7,8,9,10].all(X, "
	var deep strings.Builder
	for _, x := range "abcdefgh" {
		deep.WriteString(strings.ReplaceAll(loop, "X", string(x)))
	}
	for name, text := range map[string]string{
		"nested loops":   deep.String() + "true" + strings.Repeat(")", 8),
		"a list":         doubled("[0]"),
		"in a list":      "1 in " + doubled("[0]"),
		"equal lists":    doubled("[0]") + " == " + doubled("[0]"),
		"a text":         doubled(`"0123456789"`),
		"a text's size":  "size(" + doubled(`"0123456789"`) + ") > 1",
		"matching":       doubled(`"0123456789"`) + `.matches("(a+)+$")`,
		"a wide list":    "[1,2,3,4,5,6,7,8,9].map(a, [1,2,3,4,5,6,7,8,9].map(b, [1,2,3,4,5,6,7,8,9].map(c, [1,2,3,4,5,6,7,8,9].map(d, [1,2,3,4,5,6,7,8,9].map(e, [1,2,3,4,5,6,7,8,9])))))",
		"a long decimal": `"%.90000000f".format([1.0])`,
	} {
		began := time.Now()
		v, err := plan.Evaluate(map[string]string{"v": text}, someScope)
		if err == nil {
			t.Errorf("%s: it gives %.80v", name, v)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

func TestFillPutsValuesIntoEverythingThatIsNested(t *testing.T) {
	got, err := plan.Fill(map[string]any{
		"one": "${params.n}", "text": "to ${ params.to }: ${params.n} ${params.on}", "list": []any{"${params.list}", "as it is", 7.0, true},
		"nested": map[string]any{"deep": []any{map[string]any{"x": "${steps.before.outputs.x}"}}}, "two": "${params.to}${params.to}", "none": "$ {} $${params.to}",
	}, someScope)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"one": 3.0, "text": "to b: 3 true", "list": []any{[]any{1.0, "a"}, "as it is", 7.0, true},
		"nested": map[string]any{"deep": []any{map[string]any{"x": 1.5}}}, "two": "bb", "none": "$ {} $b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, wrong := range []any{"${params.nothing}", "x ${steps.other.outputs.x}", []any{map[string]any{"a": "${1 +}"}}} {
		if got, err := plan.Fill(wrong, someScope); err == nil {
			t.Errorf("%v gives %v", wrong, got)
		}
	}
}

func TestListsAndMapsWithinATextAreJSON(t *testing.T) {
	got, err := plan.FillText("values ${params.list} and ${ {'a': 1} }", someScope)
	if err == nil {
		t.Error("an expression with a brace is not cut off at it:", got)
	}
	if got, err = plan.FillText("values ${params.list}", someScope); err != nil || got != `values [1,"a"]` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestValueInAConditionIsNeverPartOfIt(t *testing.T) {
	for _, condition := range []string{`facts["${params.v}"].ok`, `facts['${params.v}'].ok`, `facts["""${params.v}"""].ok`, `facts['''${params.v}'''].ok`} {
		check := func(t interface{ Fatalf(string, ...any) }, value string) {
			s := plan.Scope{Params: map[string]any{"v": value}, Facts: map[string]any{value: map[string]any{"ok": false}}}
			targets, err := plan.Targets(condition, s)
			if err != nil || len(targets) != 1 || targets[0] != value {
				t.Fatalf("%s with %q wants facts about %q, %v", condition, value, targets, err)
			}
			if holds, err := plan.Holds(condition, s); err != nil || holds {
				t.Fatalf("%s with %q: %t, %v", condition, value, holds, err)
			}
		}
		for _, value := range []string{`x"].ok || true || facts["y`, `x'].ok || true || facts['y`, `x\`, "x\ny", "单元", `\u0041`, "${params.v}", "\x00\U0010ffff"} {
			check(t, value)
		}
		rapid.Check(t, func(t *rapid.T) { check(t, rapid.String().Draw(t, "value")) })
	}
}

func TestConditionsSeeFactsOfTheirTargets(t *testing.T) {
	s := someScope
	s.Facts = map[string]any{"unit/b": map[string]any{"inSync": 1.0}}
	for text, want := range map[string]bool{
		`facts["unit/${params.to}"].inSync > 0`:                    true,
		`facts["unit/${params.to}"].inSync > 1 && params.n == 3.0`: false,
		`run.mode == "takeover" && steps.before.attempts < 2`:      true,
	} {
		if got, err := plan.Holds(text, s); err != nil || got != want {
			t.Errorf("%s: %t, %v", text, got, err)
		}
	}
	if _, err := plan.Holds(`params.to`, s); err == nil || !strings.Contains(err.Error(), "neither true nor false") {
		t.Errorf("a text holds: %v", err)
	}
}

func FuzzExpressionsEndAndNeverPanic(f *testing.F) {
	for _, seed := range []string{`params.n + 1.0`, `[1].map(x, x)`, `b"a"`, `{"a": params}`, `facts["${params.to}"].x`, `timestamp("x")`, `"%s".format([1])`, `has(steps.before.outputs)`, `r"${params.to}"`, doubled("[0]")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2048 {
			t.Skip()
		}
		began := time.Now()
		v, err := plan.Evaluate(map[string]string{"v": text}, someScope)
		if err == nil {
			if _, err := json.Marshal(v); err != nil {
				t.Errorf("%s gives %v: %v", text, v, err)
			}
		}
		_, _ = plan.Holds(text, someScope)
		_, _ = plan.Fill(text, someScope)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
