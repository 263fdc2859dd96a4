package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"perdure/internal/document"
	"perdure/internal/estate"
	"perdure/internal/generate"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/wire"
)

type generateFlags struct {
	mode, system, scope, to, out string
	manifests                    []string
}

func (s *session) planGenerateCommand() *cobra.Command {
	var f generateFlags
	c := &cobra.Command{
		Use: "generate --mode drill|takeover|emergency|switch-back [--system SYSTEM] [--scope site SITE]", Short: "Make a recovery plan from the estate, as text to read, change and keep in git",
		Long: `Make a recovery plan from the estate: what goes where, in waves by dependency and criticality, with the people that the contract of
the mode asks for. --scope site SITE takes everything that is current at the site (in a switch-back: at home there), --system one system, both
what is of the one at the other. What people read in it is in the language of --lang. The estate is the applied manifest and where groups are current, or with --manifest files and no server.`,
		Example: `  perdure plan generate --mode takeover --scope site a --out plans/takeover-a.yaml
  perdure plan generate --mode emergency --system corebank --to c
  perdure plan generate --mode switch-back --system corebank --manifest estate/`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options(args)
			if err != nil {
				return err
			}
			o.Language = document.Language(s.language())
			set, err := s.generateFrom(cmd.Context(), &o, f.manifests)
			if err != nil {
				return err
			}
			g, err := generate.Plan(&set, plan.BuiltIn(), o)
			if err != nil {
				return err
			}
			s.warn(g.Notes)
			switch {
			case f.out != "":
				if _, err := writeNew(f.out, bytes.NewReader(g.Text).WriteTo); err != nil {
					return err
				}
				if !s.json {
					fmt.Fprintln(s.Out, s.say(planWritten, g.Plan.Name, len(g.Plan.Steps), f.out))
					return nil
				}
			case !s.json:
				_, err := s.Out.Write(g.Text)
				return err
			}
			return s.emit(map[string]any{"plan": g.Plan, "text": string(g.Text), "notes": append([]string{}, g.Notes...)})
		},
	}
	c.Flags().StringVar(&f.mode, "mode", "", "what the plan is for: drill, takeover, emergency or switch-back")
	c.Flags().StringVar(&f.system, "system", "", "this system only")
	c.Flags().StringVar(&f.scope, "scope", "", `"site" with the name of a site behind it: everything that leaves it, or in a switch-back goes home to it`)
	c.Flags().StringVar(&f.to, "to", "", "site where everything goes; by default for each system the nearest with a copy of everything")
	c.Flags().StringArrayVar(&f.manifests, "manifest", nil, "file or directory to read the estate from, in the place of a node; may be repeated")
	c.Flags().StringVarP(&f.out, "out", "o", "", "file to write the plan to; one that is there is not replaced")
	_ = c.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"drill", "takeover", "emergency", "switch-back"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("scope", cobra.FixedCompletions([]string{"site"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// options reads what is wanted; the site of --scope stands behind the flag as an argument of its own, or with it in quotes.
func (f *generateFlags) options(args []string) (generate.Options, error) {
	o := generate.Options{Mode: plan.Mode(f.mode), System: estate.SystemID(f.system), To: estate.SiteID(f.to)}
	words := append(strings.Fields(f.scope), args...)
	switch {
	case f.mode == "":
		return o, usagef("--mode is missing; allowed: drill, takeover, emergency, switch-back")
	case len(words) == 0:
		return o, nil
	case f.scope == "":
		return o, usagef("%q is too much; a site stands behind --scope site", args[0])
	case len(words) != 2 || words[0] != "site":
		return o, usagef("--scope %s is no scope; allowed: --scope site SITE", strings.Join(words, " "))
	}
	o.Site = estate.SiteID(words[1])
	return o, nil
}

// generateFrom gives the estate of files, or that of a node with where its groups are current.
func (s *session) generateFrom(ctx context.Context, o *generate.Options, paths []string) (manifest.Set, error) {
	if len(paths) > 0 {
		return s.parseFiles(paths)
	}
	c, err := s.estate()
	if err != nil {
		return manifest.Set{}, err
	}
	m, err := c.Manifest(ctx, wire.Fresh)
	if err != nil {
		return manifest.Set{}, err
	}
	// What is only read in part could be left out of a plan that looks whole.
	set, err := manifest.Parse(manifest.File{Name: "applied manifest", Text: []byte(m.Text)})
	if err != nil {
		return manifest.Set{}, s.problems(err)
	}
	groups, err := c.Groups(ctx, wire.Fresh)
	if err != nil {
		return manifest.Set{}, err
	}
	o.Current = map[estate.GroupID]estate.SiteID{}
	for _, g := range groups {
		if at := g.Record.OwnerSite(); at != "" {
			o.Current[g.Record.Group] = at
		}
	}
	return set, nil
}
