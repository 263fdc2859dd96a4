package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/site"
	"perdure/internal/lab/story"
	"perdure/internal/run"
	"perdure/internal/wire"
)

const (
	// commandWait bounds one command that stands for a person's.
	commandWait = 30 * time.Second
	// notaryWait bounds how long what a run wrote last may take to stand in the evidence log.
	notaryWait = 30 * time.Second
)

// command carries out a command of the product as a person would, at a site's node alone where one is named, and gives what it printed.
func (r *running) command(ctx context.Context, binary, person string, at estate.SiteID, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandWait)
	defer cancel()
	if person == "" {
		person = site.Operator
	}
	if home := r.home.Load(); at == "" && home != nil {
		at = *home
	}
	args = append([]string{"--lang", "en"}, args...)
	args = append(args, "--ca", filepath.Join(r.layout.Dir, "ca.crt"), "--hosts", filepath.Join(r.layout.Dir, "hosts"), "--token-file", r.layout.TokenFile(person))
	for _, p := range r.layout.Of(site.Node) {
		if at == "" || p.Site == at {
			args = append(args, "--endpoint", p.NodeURL())
		}
	}
	return product(ctx, binary, args...)
}

// product runs the product's binary; its error is what it wrote about it.
func product(ctx context.Context, binary string, args ...string) ([]byte, error) {
	var out, problem bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return nil, errs.New(errs.Refused, "%s: %s: %w", strings.Join(args[:min(2, len(args))], " "), strings.TrimSpace(problem.String()), err)
	}
	return out.Bytes(), nil
}

// plansDir is where generated plans stand in the lab's folder.
const plansDir = "plans"

// generatePlan makes a plan from the estate as it is, checks it by itself, and applies it with what is applied already.
func (r *running) generatePlan(ctx context.Context, binary string, out *story.Progress, a story.Generate) error {
	args := []string{"plan", "generate", "--mode", a.Mode}
	if a.System != "" {
		args = append(args, "--system", string(a.System))
	}
	if a.Site != "" {
		args = append(args, "--scope", "site "+string(a.Site))
	}
	if a.To != "" {
		args = append(args, "--to", string(a.To))
	}
	text, err := r.command(ctx, binary, a.As, a.At, args...)
	if err := refused(err, a.Refused); err != nil || a.Refused != "" {
		return err
	}
	dir := filepath.Join(r.layout.Dir, plansDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errs.New(errs.Unavailable, "cannot make the folder of the plans: %w", err)
	}
	have, err := r.command(ctx, binary, a.As, a.At, "manifest", "export")
	if err != nil {
		return err
	}
	estateFile, planFile := filepath.Join(dir, "estate.yaml"), filepath.Join(dir, strings.Trim(strings.Join([]string{a.Mode, string(a.System), string(a.Site), string(a.To)}, "-"), "-")+".yaml")
	for file, text := range map[string][]byte{estateFile: have, planFile: text} {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return errs.New(errs.Unavailable, "cannot write %s: %w", file, err)
		}
	}
	said, err := product(ctx, binary, "plan", "check", planFile, "--lang", "en")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(said)) {
		out.Say("   %s", strings.TrimRight(line, "\n"))
	}
	_, err = r.command(ctx, binary, a.As, a.At, "apply", estateFile, planFile, "--yes")
	return err
}

// startRun starts a run of a plan; what the story says of a run afterwards is about this one.
func (r *running) startRun(ctx context.Context, binary string, a story.StartRun) error {
	args := []string{"run", "start", a.Plan, "--mode", a.Mode, "--reason", a.Reason, "--yes", "--no-wait", "--json"}
	for _, set := range a.Set {
		args = append(args, "--set", set)
	}
	out, err := r.command(ctx, binary, a.As, a.At, args...)
	if err := refused(err, a.Refused); err != nil || a.Refused != "" {
		return err
	}
	var head wire.Run
	if err := json.Unmarshal(out, &head); err != nil {
		return errs.New(errs.Internal, "cannot read what run start printed: %w", err)
	}
	r.run = head.ID
	return nil
}

// window has a person approve a window, or take that back.
func (r *running) window(ctx context.Context, binary string, a story.Window) error {
	args := []string{"calendar", "approve", a.Name, "--reason", a.Reason, "--yes"}
	if a.Revoked {
		args = []string{"calendar", "revoke", a.Name, "--reason", a.Reason}
	}
	_, err := r.command(ctx, binary, a.As, a.At, args...)
	return refused(err, a.Refused)
}

// answerRun says a person's word to the run.
func (r *running) answerRun(ctx context.Context, binary string, a story.Answer) error {
	if r.run == "" {
		return errs.New(errs.Conflict, "no run was started")
	}
	args := []string{"run", a.What, r.run}
	if a.Step != "" {
		args = append(args, a.Step)
	}
	if a.For != "" {
		args = append(args, "--for", a.For)
	}
	if a.Reason != "" {
		args = append(args, "--reason", a.Reason)
	}
	for _, set := range a.Set {
		args = append(args, "--set", set)
	}
	_, err := r.command(ctx, binary, a.As, a.At, args...)
	return refused(err, a.Refused)
}

// runIs: the run has ended as it should, one of its steps has begun, or waits for people.
func (r *running) runIs(ctx context.Context, c story.Condition) (bool, string) {
	if r.run == "" {
		return false, "no run was started"
	}
	operator, err := r.as("", "")
	if err != nil {
		return false, err.Error()
	}
	state, err := operator.Run(ctx, r.run)
	if err != nil {
		return false, err.Error()
	}
	stands := fmt.Sprintf("%s is %s, %d of %d steps are settled", r.run, state.Run.Phase, state.Run.Settled, state.Run.Steps)
	if state.Run.Phase == run.Over {
		stands = fmt.Sprintf("%s ended as %s %s", r.run, state.Run.Outcome, state.Run.Reason)
		return c.Kind == story.RunOver && string(state.Run.Outcome) == c.Phase, stands
	}
	if c.Kind == story.RunAt {
		for _, s := range state.Steps {
			if s.ID == c.Step {
				return s.BeganAt > 0, stands + ", " + s.ID + " is " + string(s.Status)
			}
		}
		return false, "the run has no step " + c.Step
	}
	for _, step := range state.Run.Asked {
		stands += ", " + step + " asks"
		if c.Kind == story.RunAsks && step == c.Step {
			return true, ""
		}
	}
	return false, stands
}

// sandboxesGone: no copy has files of a sandbox, and nothing runs on any.
func (r *running) sandboxesGone() (bool, string) {
	var dirs []string
	for _, p := range r.layout.Of(site.Agent) {
		dir, _ := r.layout.DataDir(p.Member())
		dirs = append(dirs, dir+".sandbox")
	}
	for _, dir := range dirs {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			return false, "there is " + dir
		}
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return false, err.Error()
	}
	for _, name := range lines {
		line, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		for _, dir := range dirs {
			if bytes.Contains(line, []byte(dir)) {
				return false, "there is a process on " + dir
			}
		}
	}
	return true, ""
}

// evidence writes a pack of every run into the lab's folder and verifies each with the public keys alone, as an auditor would. The
// runs' reports are written beside.
func (r *running) evidence(ctx context.Context, binary string, out *story.Progress, a story.Evidence) error {
	dir, reports := filepath.Join(r.layout.Dir, evidenceDir), filepath.Join(r.layout.Dir, reportsDir)
	for _, d := range []string{dir, reports} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return errs.New(errs.Unavailable, "cannot make a folder: %w", err)
		}
	}
	keys, err := r.command(ctx, binary, "vera", a.At, "evidence", "keys")
	if err != nil {
		return err
	}
	keyFile := filepath.Join(dir, r.name+".keys")
	if err := os.WriteFile(keyFile, keys, 0o644); err != nil {
		return errs.New(errs.Unavailable, "cannot write the keys: %w", err)
	}
	viewer, err := r.as("vera", a.At)
	if err != nil {
		return err
	}
	runs, err := viewer.Runs(ctx, 0)
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		return errs.New(errs.NotFound, "there is no run whose evidence could be verified")
	}
	bound, cancel := context.WithTimeout(ctx, notaryWait)
	defer cancel()
	for _, head := range runs {
		pack := filepath.Join(dir, head.ID+".pack")
		if err := os.Remove(pack); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an earlier evidence of the story
			return errs.New(errs.Unavailable, "cannot replace %s: %w", pack, err)
		}
		if err := until(bound, "the evidence of "+head.ID, func() error {
			_, err := r.command(bound, binary, "audrey", a.At, "evidence", "pack", head.ID, "--out", pack)
			return err
		}); err != nil {
			return err
		}
		said, err := product(ctx, binary, "evidence", "verify", pack, "--keys", keyFile, "--lang", "en")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(said)) {
			out.Say("   %s", strings.TrimRight(line, "\n"))
		}
		if err := r.reports(ctx, binary, a.At, filepath.Join(reports, head.ID)); err != nil {
			return err
		}
	}
	out.Say("   reports of %d runs in %s", len(runs), reports)
	return r.exportLog(ctx, binary, out, a.At, filepath.Join(dir, r.name+".log"), keyFile)
}

// exportLog writes what is new in the evidence log itself, and verifies all that was written of it.
func (r *running) exportLog(ctx context.Context, binary string, out *story.Progress, at estate.SiteID, dir, keyFile string) error {
	bound, cancel := context.WithTimeout(ctx, notaryWait)
	defer cancel()
	if err := until(bound, "the evidence log", func() error {
		_, err := r.command(bound, binary, "audrey", at, "evidence", "export", dir, "--keys", keyFile)
		return err
	}); err != nil {
		return err
	}
	said, err := product(ctx, binary, "evidence", "verify", dir, "--keys", keyFile, "--lang", "en")
	if err != nil {
		return err
	}
	out.Say("   %s: %s", filepath.Base(dir), strings.TrimSpace(string(said)))
	return nil
}

// reports writes the report of a run in every form that there is; base ends with the run's name.
func (r *running) reports(ctx context.Context, binary string, at estate.SiteID, base string) error {
	for _, lang := range []string{"zh", "en"} {
		for _, format := range []string{"html", "docx", "xlsx"} {
			file := base + "." + lang + "." + format
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return errs.New(errs.Unavailable, "cannot replace %s: %w", file, err)
			}
			if _, err := r.command(ctx, binary, "vera", at, "run", "report", filepath.Base(base), "--format", format, "--out", file, "--lang", lang); err != nil {
				return err
			}
		}
	}
	return nil
}

// The folders in the lab's own for packs and reports; they stay when the estate has ended.
const (
	evidenceDir = "evidence"
	reportsDir  = "reports"
)
