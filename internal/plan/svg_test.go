package plan_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"perdure/internal/plan"
)

func TestADrawingHasEveryStepAndEveryArrowDownwards(t *testing.T) {
	sub := plan.Plan{Name: "sub", Modes: []plan.Mode{plan.Takeover}, Steps: []plan.Step{
		{ID: "x", Wait: &plan.Wait{}}, {ID: "y", Wait: &plan.Wait{}},
	}}
	p := plan.Plan{Name: "p", Title: `A & B <"both">`, Modes: []plan.Mode{plan.Takeover}, Steps: []plan.Step{
		{ID: "agree", Title: "切换到同城站点 B，并核对全部账户的余额与流水", Approval: &plan.Approval{Of: []string{"commander"}, Need: 1}},
		{ID: "refused", After: &[]string{"agree.declined"}, Notify: &plan.Notify{To: []string{"operator"}, Text: "no"}},
		{ID: "one", After: &[]string{"agree"}, Subplan: &plan.Reference{Plan: "sub"}},
		{ID: "two", After: &[]string{"agree"}, Manual: &plan.Manual{Owner: "operator", Instruction: "Do."}},
		{ID: "end", After: &[]string{"one", "two"}, Notify: &plan.Notify{To: []string{"operator"}, Text: "over"}},
	}}
	program, err := plan.Compile([]plan.Plan{p, sub}, plan.BuiltIn(), "p", plan.Takeover)
	if err != nil {
		t.Fatal(err)
	}
	svg := program.SVG()
	if svg != program.SVG() {
		t.Error("two drawings of one program differ")
	}
	d := xml.NewDecoder(strings.NewReader(svg))
	boxes, titles := 0, []string{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("it is not XML: %v\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "title" {
			var text string
			if err := d.DecodeElement(&text, &e); err != nil {
				t.Fatal(err)
			}
			titles = append(titles, text)
		} else if ok && e.Name.Local == "g" {
			boxes++
		}
	}
	if boxes != len(program.Nodes) || titles[0] != p.Title || len(titles) != boxes+1 {
		t.Errorf("%d boxes of %d, titles %q", boxes, len(program.Nodes), titles)
	}
	// agree to refused, one, two; one to x; x to y; y, with which one ends, and two to end.
	arrows := regexp.MustCompile(`<path d="M(\d+) (\d+)C(\d+) (\d+) (\d+) (\d+) (\d+) (\d+)"`).FindAllStringSubmatch(svg, -1)
	if len(arrows) != 7 {
		t.Errorf("%d arrows, want 7:\n%s", len(arrows), svg)
	}
	seen := map[string]bool{}
	for _, a := range arrows {
		if from := a[1] + " " + a[2]; a[1] == a[3] && a[5] == a[7] && a[1] == a[7] && a[2] != "" {
			seen[from+" to "+a[8]] = true
		}
		var from, to int
		if _, err := fmt.Sscan(a[2]+" "+a[8], &from, &to); err != nil || to <= from {
			t.Errorf("an arrow from %d to %d does not go down", from, to)
		}
	}
	if !seen["418 338 to 384"] {
		t.Errorf("what waits for a subplan does not stand below its last step: %v", seen)
	}
	if !strings.Contains(svg, `stroke-dasharray="5 4"`) || !strings.Contains(svg, ">declined<") {
		t.Error("the way after a refusal is not told apart")
	}
	if !strings.Contains(svg, ">切换到同城站点 B，并核对全部账…<") {
		t.Errorf("a long title is not cut to its box:\n%s", svg)
	}
}
