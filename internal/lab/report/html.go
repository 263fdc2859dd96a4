package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/checker"
)

//go:embed report.html.tmpl
var page string

// HTML writes the report: one file that loads nothing, in both languages, chosen by a button and by the reader's browser.
func HTML(w io.Writer, s Summary) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"t":        both,
		"title":    bothTitles,
		"yes":      func(b bool) template.HTML { return both(map[bool]string{true: "yes", false: "no"}[b]) },
		"duration": duration,
		"clock":    clock,
		"timeline": timeline,
		"number":   func(i int) int { return i + 1 },
		"targets":  bothTargets,
		"phases":   bothPhases,
		"said":     func(all checker.Step) template.HTML { return said(s, all) },
		"count":    func(c map[checker.Name]int, n checker.Name) int { return c[n] },
		"rate":     func(r float64) string { return strconv.FormatFloat(r, 'f', 0, 64) },
		"took":     func(d Details) template.HTML { return spans(phrase{took(d, English), took(d, Chinese)}) },
		"total":    func() checker.Step { return sum(s) },
	}).Parse(page)
	if err != nil {
		return errs.New(errs.Internal, "cannot write the report: %w", err)
	}
	if err := t.Execute(w, s); err != nil {
		return errs.New(errs.Unavailable, "cannot write the report: %w", err)
	}
	return nil
}

// both gives a word in both languages; the page shows one.
func both(key string) template.HTML {
	p, ok := words[key]
	if !ok {
		p = phrase{key, key}
	}
	return spans(p)
}

func bothTitles(s checker.Step) template.HTML {
	return spans(phrase{en: title(s, English), zh: title(s, Chinese)})
}

// said is the run in one sentence.
func said(s Summary, all checker.Step) template.HTML {
	conserved := map[bool]phrase{true: {"money conserved", "资金守恒"}, false: {"money NOT conserved", "资金不守恒"}}[s.MoneyConserved]
	return spans(phrase{
		en: fmt.Sprintf("%d steps, %d acknowledged writes: %d lost, %d doubled, %d errors, %s.", len(s.Steps), all.Acknowledged, all.Lost, all.Doubled, all.Errors, conserved.en),
		zh: fmt.Sprintf("共 %d 个步骤，已确认写入 %d 笔：丢失 %d 笔，重复 %d 笔，错误 %d 次，%s。", len(s.Steps), all.Acknowledged, all.Lost, all.Doubled, all.Errors, conserved.zh),
	})
}

// bothTargets names what a fault was on: "site a", "database u2-b", "startup of database u1-c", "a-b".
func bothTargets(targets []string) template.HTML {
	zh := make([]string, len(targets))
	for i, t := range targets {
		fields := strings.Fields(t)
		for n, w := range fields {
			fields[n] = word(w, Chinese)
		}
		zh[i] = strings.Join(fields, " ")
	}
	return spans(phrase{strings.Join(targets, ", "), strings.Join(zh, "，")})
}

// bothPhases is how long the parts of a planned switch took, in their order.
func bothPhases(s checker.Step) template.HTML {
	var en, zh []string
	for _, name := range checker.PhaseNames() {
		if d, ok := s.Phases[name]; ok {
			en, zh = append(en, name+" "+duration(d)), append(zh, word(name, Chinese)+" "+duration(d))
		}
	}
	return spans(phrase{strings.Join(en, " · "), strings.Join(zh, " · ")})
}

func spans(p phrase) template.HTML {
	if p.en == p.zh {
		return template.HTML(template.HTMLEscapeString(p.en)) //nolint:gosec // escaped
	}
	return template.HTML(`<span class="en" lang="en">` + template.HTMLEscapeString(p.en) + `</span><span class="zh" lang="zh-CN">` + template.HTMLEscapeString(p.zh) + `</span>`) //nolint:gosec // escaped
}

// clock writes a moment of the run.
func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%04.1f", int(d.Minutes()), d.Seconds()-60*float64(int(d.Minutes())))
}

// sum is all steps of all estates.
func sum(s Summary) checker.Step {
	var all checker.Step
	for _, v := range s.Details.Estates {
		for _, step := range v.Steps {
			all.Gap, all.Pause = max(all.Gap, step.Gap), max(all.Pause, step.Pause)
			all.Held, all.Replayed = all.Held+step.Held, all.Replayed+step.Replayed
			all.Errors, all.Reconnects = all.Errors+step.Errors, all.Reconnects+step.Reconnects
			all.Acknowledged, all.Lost, all.Doubled = all.Acknowledged+step.Acknowledged, all.Lost+step.Lost, all.Doubled+step.Doubled
		}
	}
	return all
}

// The timeline's measures in pixels.
const (
	chartWidth, chartHeight = 960, 220
	chartLeft, chartTop     = 46, 24
	chartBottom             = 30
	plotWidth, plotHeight   = chartWidth - chartLeft - 10, chartHeight - chartTop - chartBottom
	mostLabels              = 20 // on the time axis
)

// colours are told apart by people who cannot tell red from green, and by their dashes in print.
var colours = [...]struct{ stroke, dash string }{{"#0b62a8", ""}, {"#b3540b", "6 3"}, {"#5d3a9b", "2 2"}, {"#00694c", "8 2 2 2"}}

// timeline draws the rate of acknowledged writes of each unit, with the steps as bands and the faults as numbered marks.
func timeline(v checker.Verdict) template.HTML {
	t := v.Timeline
	columns, top := 0, 1.0
	for _, counts := range t.Units {
		columns = max(columns, len(counts))
		for _, n := range counts {
			top = max(top, float64(n)/t.Interval.Seconds())
		}
	}
	if columns < 2 {
		return ""
	}
	top = roundTop(top)
	end := time.Duration(columns) * t.Interval
	x := func(at time.Duration) float64 {
		return chartLeft + plotWidth*min(1, max(0, at.Seconds()/end.Seconds()))
	}
	y := func(rate float64) float64 { return chartTop + plotHeight*(1-rate/top) }
	b := &strings.Builder{}
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" role="img" aria-label="acknowledged writes per second">`, chartWidth, chartHeight)
	for i, s := range v.Steps {
		fmt.Fprintf(b, `<rect class="band%d" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s</title></rect>`,
			i%2, x(s.Start), chartTop, max(1, x(s.End)-x(s.Start)), plotHeight, template.HTMLEscapeString(s.Name))
	}
	axes(b, x, y, top, end)
	for i, u := range slices.Sorted(maps.Keys(t.Units)) {
		curve(b, i, u, t, x, y)
	}
	free := 0.0 // where the next number has room
	for i, f := range t.Faults {
		if f.Skipped != "" {
			continue
		}
		label := max(x(f.Start)+2, free)
		free = label + 7*float64(len(strconv.Itoa(i+1))) + 3
		fmt.Fprintf(b, `<line class="fault" x1="%.1f" x2="%.1f" y1="%d" y2="%d"><title>%s</title></line><text class="mark" x="%.1f" y="%d">%d</text>`,
			x(f.Start), x(f.Start), chartTop-4, chartTop+plotHeight, template.HTMLEscapeString(f.What+" "+strings.Join(f.Targets, ", ")), label, chartTop-6, i+1)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // all text in it is escaped
}

// roundTop is the next rate above that divides into four round numbers.
func roundTop(top float64) float64 {
	for step := 1.0; ; step *= 10 {
		for _, m := range []float64{1, 2, 2.5, 5} {
			if 4*m*step >= top {
				return 4 * m * step
			}
		}
	}
}

func axes(b *strings.Builder, x func(time.Duration) float64, y func(float64) float64, top float64, end time.Duration) {
	for i := range 5 {
		rate := top * float64(i) / 4
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`,
			chartLeft, chartLeft+plotWidth, y(rate), y(rate), chartLeft-6, y(rate)+4, rate)
	}
	every := 10 * time.Second
	for end/every > mostLabels {
		every *= 2
	}
	for at := time.Duration(0); at <= end; at += every {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%d s</text>`, x(at), chartHeight-10, int(at.Seconds()))
	}
}

func curve(b *strings.Builder, i int, u estate.UnitID, t checker.Timeline, x func(time.Duration) float64, y func(float64) float64) {
	c := colours[i%len(colours)]
	fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.5" stroke-dasharray="%s" points="`, c.stroke, c.dash)
	for n, count := range t.Units[u] {
		fmt.Fprintf(b, "%.1f,%.1f ", x(time.Duration(n)*t.Interval), y(float64(count)/t.Interval.Seconds()))
	}
	fmt.Fprintf(b, `"/><line x1="%d" x2="%d" y1="10" y2="10" stroke="%s" stroke-width="2" stroke-dasharray="%s"/><text x="%d" y="14">%s</text>`,
		chartLeft+90*i, chartLeft+90*i+24, c.stroke, c.dash, chartLeft+90*i+30, template.HTMLEscapeString(string(u)))
}
