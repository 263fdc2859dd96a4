package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/shape"
	"perdure/internal/wire"
)

func (s *session) planCommand() *cobra.Command {
	c := &cobra.Command{Use: "plan", Short: "Generate, check and draw plans, list those of the estate, look ahead, and write their documents", Args: cobra.ArbitraryArgs, RunE: parent}
	c.AddCommand(s.planGenerateCommand(), s.planCheckCommand(), s.planShowCommand(), s.planListCommand(), s.planPreflightCommand(), s.planArmedCommand(), s.planDocumentCommand())
	return c
}

func (s *session) planCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE|DIRECTORY|- ...", Short: "Check plans by themselves, without the estate they are for; needs no server",
		Args: atLeastOne("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := s.readFiles(args)
			if err != nil {
				return err
			}
			plans, err := manifest.ParsePlans(files...)
			if err != nil {
				return s.problems(err)
			}
			doubts := manifest.DoubtsOfPlans(files...)
			if s.json {
				return s.emit(map[string]any{"ok": true, "plans": len(plans), "doubts": append(shape.Problems{}, doubts...)})
			}
			for _, d := range doubts {
				fmt.Fprintf(s.Out, "%s: %s\n", s.paint(yellow, s.say(doubtful)), d)
			}
			if len(plans) == 0 {
				fmt.Fprintln(s.Out, s.say(noPlans))
			}
			for _, p := range plans {
				for _, m := range p.Modes {
					program, err := plan.Compile(plans, plan.BuiltIn(), p.Name, m)
					if err != nil {
						return err
					}
					fmt.Fprintln(s.Out, s.say(planGood, p.Name, string(m), len(program.Nodes), worst(program)))
				}
			}
			return nil
		},
	}
}

// worst is the longest that a program may take, but for people whose steps have no timeout.
func worst(p *plan.Program) string {
	d, _ := p.Longest()
	return d.Round(time.Second).String()
}

func (s *session) planShowCommand() *cobra.Command {
	var file, mode, format string
	c := &cobra.Command{
		Use: "show PLAN", Short: "Draw a plan with its subplans: as text, as a picture, or as Mermaid for documents",
		Example: `  perdure plan show takeover-core
  perdure plan show takeover-core --file plans/ --format mermaid
  perdure plan show takeover-core --format svg > takeover-core.svg`,
		Args: exactly("PLAN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var files []manifest.File
			switch {
			case file != "":
				read, err := s.readFiles([]string{file})
				if err != nil {
					return err
				}
				files = read
			case !plan.IsBuiltIn(args[0]): // those need no server
				c, err := s.estate()
				if err != nil {
					return err
				}
				m, err := c.Manifest(cmd.Context(), wire.Fresh)
				if err != nil {
					return err
				}
				files = []manifest.File{{Name: "applied manifest", Text: []byte(m.Text)}}
			}
			plans, err := manifest.PlanOf(args[0], files...)
			if err != nil {
				return s.problems(err)
			}
			m := plan.Mode(mode)
			for _, p := range plans {
				if p.Name == args[0] && m == "" {
					m = p.Modes[0]
				}
			}
			program, err := plan.Compile(plans, plan.BuiltIn(), args[0], m)
			if err != nil {
				return err
			}
			switch {
			case s.json:
				return s.emit(program)
			case format == "mermaid":
				fmt.Fprint(s.Out, program.Mermaid())
			case format == "svg":
				fmt.Fprint(s.Out, program.SVG())
			case format == "text":
				s.drawProgram(program)
			default:
				return usagef("unknown format %q; allowed: text, mermaid, svg", format)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "file", "", "file or directory with the plan; by default the applied manifest")
	c.Flags().StringVar(&mode, "mode", "", "mode to draw it for; by default the first of the plan")
	c.Flags().StringVar(&format, "format", "text", "text, mermaid or svg")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "mermaid", "svg"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (s *session) drawProgram(p *plan.Program) {
	fmt.Fprintf(s.Out, "%s %s\n", s.paint(bold, p.Plan), s.say(planHead, string(p.Mode), len(p.Nodes), worst(p)))
	critical := map[string]bool{}
	_, path := p.Longest()
	for _, id := range path {
		critical[id] = true
	}
	var g grid
	g.cells(cell{s.say(colStep), faint}, cell{s.say(colKind), faint}, cell{s.say(colAfter), faint}, cell{s.say(colLongest), faint})
	for i := range p.Nodes {
		n := &p.Nodes[i]
		colour := plain
		if critical[n.ID] {
			colour = yellow
		}
		var after []string
		for _, d := range n.After {
			after = append(after, strings.TrimSuffix(p.Nodes[d.Node].ID+"."+d.Port, "."))
		}
		longest := p.Bound(i).Round(time.Second).String()
		if n.Timeout == 0 && (n.Step.Manual != nil || n.Step.Approval != nil) { // nobody bounds how long people take
			longest = "-"
		}
		g.cells(cell{strings.Repeat("  ", strings.Count(n.ID, "/")) + n.Local, colour}, cell{string(n.Step.Kind()), plain}, cell{dash(strings.Join(after, ", ")), plain}, cell{longest, plain})
	}
	g.write(s, s.Out, "  ")
	if late, longest, _ := p.Late(); late {
		fmt.Fprintf(s.Out, "%s: %s > rto %s\n", s.paint(yellow, s.say(doubtful)), longest, p.RTO)
	}
}

func (s *session) planListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the plans of the applied manifest, and those of the product's own", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			m, err := c.Manifest(cmd.Context(), wire.Fresh)
			if err != nil && errs.KindOf(err) != errs.NotFound {
				return err
			}
			plans, err := manifest.ParsePlans(manifest.File{Name: "applied manifest", Text: []byte(m.Text)})
			if err != nil {
				return err
			}
			plans = append(plans, plan.BuiltInPlans()...)
			if s.json {
				return s.emit(plans)
			}
			var g grid
			g.cells(cell{s.say(colPlan), faint}, cell{s.say(colModes), faint}, cell{s.say(colSteps), faint}, cell{s.say(colTitle), faint})
			for _, p := range plans {
				var names []string
				for _, m := range p.Modes {
					names = append(names, string(m))
				}
				g.row(p.Name, strings.Join(names, ", "), fmt.Sprint(len(p.Steps)), dash(p.Title))
			}
			g.write(s, s.Out, "")
			return nil
		},
	}
}

// parameterValue reads what stands behind --set: a number and a truth value are what they look like where the plan wants them.
func parameterValue(p plan.Parameter, text string) any {
	switch p.Type {
	case plan.Number:
		if f, ok := looksLike(text).(float64); ok {
			return f
		}
	case plan.Boolean:
		if text == "true" || text == "false" {
			return text == "true"
		}
	case plan.Text, plan.Duration, plan.Choice:
	}
	return text
}
