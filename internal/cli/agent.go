package cli

import (
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"perdure/internal/app"
	"perdure/internal/driver"
	"perdure/internal/driver/postgres"
	"perdure/internal/errs"
)

// agentCommand runs an agent; adopt gives it a directory that was run without one.
func (s *session) agentCommand() *cobra.Command {
	return withCommands(process("agent --config FILE", "Look after one database directory; or adopt one", "  perdure agent --config /etc/perdure/u1-a.yaml", app.RunAgent),
		s.adoptCommand())
}

func (s *session) adoptCommand() *cobra.Command {
	var file, inside string
	var dry, yes bool
	c := &cobra.Command{
		Use: "adopt --config FILE", Short: "Take over a database directory that was run without an agent", Args: exactly(),
		Long: `Take over the database directory that the agent's configuration names. First it is looked at, and what was found and
what would change is shown; --dry-run ends there. Then the server is stopped once, the agent's role and schema perdure
are put in, and the old configuration is put aside (*.before-perdure). The directory stays stopped and closed until its
agent starts it. Ends with 3 where a check forbids it; then nothing was changed.`,
		Example: `  perdure agent adopt --config /etc/perdure/u1-a.yaml --database "host=/var/run/postgresql dbname=bank user=postgres" --dry-run`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("--config FILE is missing")
			}
			var config app.AgentConfig
			if err := app.LoadConfig(file, &config); err != nil {
				return err
			}
			var conn *pgx.ConnConfig
			if inside != "" {
				var err error
				if conn, err = pgx.ParseConfig(inside); err != nil {
					// The error could repeat a password.
					return usagef("the connection string cannot be read; write it like \"host=/var/run/postgresql dbname=bank user=postgres\"")
				}
			}
			var found postgres.Survey
			err := app.AdoptDatabase(cmd.Context(), config, conn, func(f postgres.Survey) (bool, error) {
				found = f
				return s.decideAdoption(f, config.Name, dry, yes)
			})
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(map[string]any{"survey": found, "adopted": !dry})
			}
			if !dry && !found.Mine {
				fmt.Fprintln(s.Out, s.say(adopted, config.Name, file))
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file of the agent, which must not run")
	c.Flags().StringVar(&inside, "database", "", "connection string of a superuser to the business database of the running server; keep passwords in a passfile")
	c.Flags().BoolVar(&dry, "dry-run", false, "only look, and say what would change")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// decideAdoption shows what was found and asks.
func (s *session) decideAdoption(f postgres.Survey, member string, dry, yes bool) (bool, error) {
	if !s.json {
		s.showSurvey(f, member)
	}
	if f.Mine {
		return false, nil
	}
	if i := slices.IndexFunc(f.Findings, func(f driver.Finding) bool { return f.Fatal }); i >= 0 {
		return false, errs.Refuse("I17", "cannot adopt the directory of %s: %s; %s", member, f.Findings[i].Problem, f.Findings[i].Fix)
	}
	if dry {
		return false, nil
	}
	return true, s.confirm(yes, s.say(askAdopt, member), member)
}

func (s *session) showSurvey(f postgres.Survey, member string) {
	if f.Mine {
		fmt.Fprintln(s.Out, s.say(adoptedAlready, member))
		return
	}
	fmt.Fprintln(s.Out, s.say(surveyFound, f.Directory, f.Program))
	switch {
	case !f.Running:
		fmt.Fprintln(s.Out, s.say(surveyStopped))
	case f.Inside:
		fmt.Fprintln(s.Out, s.say(surveySessions, f.Sessions))
	default:
		fmt.Fprintln(s.Out, s.say(surveyRunning))
	}
	s.showFindingLines(f.Findings)
	fmt.Fprintln(s.Out, s.say(surveyPutIn))
	fmt.Fprintln(s.Out, s.say(surveyChanged))
	var g grid
	for _, c := range f.Changed {
		now := c.Now
		if now == "" {
			now = s.say(surveyUnset)
		}
		g.row(c.Name, now, "→ "+orDash(c.Then))
	}
	g.write(s, s.Out, "  ")
	if len(f.Dropped) > 0 || f.Rules > 0 {
		fmt.Fprintln(s.Out, s.say(surveyDropped, f.Rules))
		g = grid{}
		for _, c := range f.Dropped {
			g.row(c.Name, c.Now)
		}
		g.write(s, s.Out, "  ")
	}
}

func orDash(v string) string {
	if v == "" {
		return "-"
	}
	return v
}
