package cli

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"perdure/internal/document"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
)

type documentFlags struct {
	as, mode, system, site, format, out string
	manifests                           []string
}

func (s *session) planDocumentCommand() *cobra.Command {
	var f documentFlags
	c := &cobra.Command{
		Use: "document PLAN [--mode MODE] | --as erp --system SYSTEM|--site SITE", Short: "Write the recovery plan 灾难恢复计划 or the drill plan 演练方案 of a plan, or the emergency response plan 紧急响应计划 of a system or a site",
		Long: `Write what people hand round before something happens, in the language of --lang: --as drp, the disaster recovery plan of a plan;
--as drill-plan, what is practised by it; --as erp, the emergency response plan of a system or a site. The estate is the applied manifest, with earlier
runs and users, or with --manifest files and no server. What a document needs and nobody said is told on standard error and stands nowhere in the
document. Exit code 3 where something is told; the document is written all the same.`,
		Example: `  perdure plan document takeover-site-a --lang zh --format docx --out drp-a.docx
  perdure plan document --as erp --site a --lang zh --format docx --out erp-a.docx
  perdure plan document practise --as drill-plan --mode drill --manifest estate/ > practise.html`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(args, s.Tty && !s.json); err != nil {
				return err
			}
			paper, err := s.paper(cmd.Context(), &f, args)
			if err != nil {
				return err
			}
			return s.handOver(&f, paper)
		},
	}
	c.Flags().StringVar(&f.as, "as", "drp", "drp, drill-plan or erp")
	c.Flags().StringVar(&f.mode, "mode", "", "mode of the plan: drill, takeover, emergency or switch-back; by default its first of these")
	c.Flags().StringVar(&f.system, "system", "", "system that a response plan is for")
	c.Flags().StringVar(&f.site, "site", "", "site that a response plan is for")
	c.Flags().StringVar(&f.format, "format", "html", "html, docx or xlsx")
	c.Flags().StringArrayVar(&f.manifests, "manifest", nil, "file or directory to read the estate and its plans from, in the place of a node; may be repeated")
	c.Flags().StringVarP(&f.out, "out", "o", "", "file to write, one that is there is not replaced; by default standard output")
	for flag, words := range map[string][]string{"as": {"drp", "drill-plan", "erp"}, "format": {"html", "docx", "xlsx"}, "mode": {"drill", "takeover", "emergency", "switch-back"}} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	return c
}

// check refuses flags that do not go together; terminal says that standard output is one.
func (f *documentFlags) check(args []string, terminal bool) error {
	switch {
	case f.as != "drp" && f.as != "drill-plan" && f.as != "erp":
		return usagef("unknown document %q; allowed: drp, drill-plan, erp", f.as)
	case f.format != "html" && f.format != "docx" && f.format != "xlsx":
		return usagef("unknown format %q; allowed: html, docx, xlsx", f.format)
	case f.as == "erp" && (len(args) > 0 || f.mode != ""):
		return usagef("--as erp is for a system or a site, not for a plan: leave PLAN and --mode out")
	case f.as == "erp" && (f.system == "") == (f.site == ""):
		return usagef("--as erp needs one of --system SYSTEM and --site SITE")
	case f.as != "erp" && len(args) == 0:
		return usagef("PLAN is missing")
	case f.as != "erp" && f.system+f.site != "":
		return usagef("--system and --site are for --as erp")
	case f.out == "" && f.format != "html" && terminal:
		return usagef("--out FILE is missing: %s is nothing for a terminal", f.format)
	}
	return nil
}

// paper makes the document of files, or asks a node for it.
func (s *session) paper(ctx context.Context, f *documentFlags, args []string) (*document.Paper, error) {
	l := document.Language(s.language())
	system, site := estate.SystemID(f.system), estate.SiteID(f.site)
	if len(f.manifests) == 0 {
		c, err := s.estate()
		if err != nil {
			return nil, err
		}
		var p document.Paper
		if f.as == "erp" {
			p, err = c.ResponsePlan(ctx, system, site, f.format, string(l))
		} else {
			p, err = c.PlanDocument(ctx, args[0], f.as, plan.Mode(f.mode), f.format, string(l))
		}
		return &p, err
	}
	set, err := s.parseFiles(f.manifests)
	if err != nil {
		return nil, err
	}
	e := document.Estate{Set: &set}
	var d *document.Document
	var findings []document.Finding
	switch f.as {
	case "erp":
		d, findings, err = document.Response(document.ResponseSource{Estate: e, System: system, Site: site}, l)
	case "drill-plan":
		d, findings, err = document.DrillPlan(document.PlanSource{Estate: e, Plan: args[0], Mode: plan.Mode(f.mode)}, l)
	default:
		d, findings, err = document.RecoveryPlan(document.PlanSource{Estate: e, Plan: args[0], Mode: plan.Mode(f.mode)}, l)
	}
	if err != nil {
		return nil, err
	}
	return d.Paper(document.Format(f.format), findings)
}

// handOver writes a document, and tells what it needs and nobody said.
func (s *session) handOver(f *documentFlags, p *document.Paper) error {
	if f.out != "" {
		if _, err := writeNew(f.out, bytes.NewReader(p.File).WriteTo); err != nil {
			return err
		}
	}
	switch {
	case s.json && f.out != "":
		if err := s.emit(map[string]any{"title": p.Title, "out": f.out, "bytes": len(p.File), "findings": p.Findings}); err != nil {
			return err
		}
	case s.json:
		if err := s.emit(p); err != nil {
			return err
		}
	case f.out != "":
		fmt.Fprintln(s.Out, s.say(reportWritten, f.out, s.count(int64(len(p.File)))))
	default:
		if _, err := s.Out.Write(p.File); err != nil {
			return errs.New(errs.Internal, "cannot write the document: %w", err)
		}
	}
	if len(p.Findings) == 0 {
		return nil
	}
	if !s.json {
		for _, one := range p.Findings {
			fmt.Fprintf(s.Err, "%s: %s\n", s.paint(yellow, s.say(findingWord)), one.Text)
		}
	}
	return errs.New(errs.Refused, "%s: findings: %d", p.Title, len(p.Findings))
}
