package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/checker/collect"
	"perdure/internal/lab/history"
	"perdure/internal/lab/site"
	"perdure/internal/unit"
)

// superuser and database are those of the servers that agents make.
const (
	superuser = "perdure_agent"
	database  = "perdure"
)

// binDir finds PostgreSQL's programs: the folder in PERDURE_PG_BINDIR, version 15 of Debian's, or the newest of Debian's.
func binDir() (string, error) {
	if dir := os.Getenv("PERDURE_PG_BINDIR"); dir != "" {
		for _, program := range []string{"initdb", "postgres"} {
			if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
				return "", errs.New(errs.Unavailable, "PERDURE_PG_BINDIR is %s, and there is no %s in it: name the folder of PostgreSQL's server programs", dir, program)
			}
		}
		return dir, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errs.New(errs.Unavailable, "PostgreSQL's server programs were not found: run scripts/need postgresql, or set PERDURE_PG_BINDIR")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	best := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	if i := slices.IndexFunc(found, func(p string) bool { return version(p) == 15 }); i >= 0 {
		best = found[i]
	}
	return filepath.Dir(best), nil
}

// connString reaches the server on a data directory through its private socket, which its lock file names.
func connString(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return "", errs.New(errs.Unavailable, "no server runs on %s: %w", dir, err)
	}
	defer f.Close()
	var lines []string
	for scan := bufio.NewScanner(f); scan.Scan() && len(lines) < 5; {
		lines = append(lines, strings.TrimSpace(scan.Text()))
	}
	if len(lines) < 5 || lines[4] == "" {
		return "", errs.New(errs.Unavailable, "the server on %s is only starting", dir)
	}
	quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(lines[4]) + "'"
	return fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable connect_timeout=5", quoted, lines[3], superuser, database), nil
}

// former reports whether the directory is that of a server that was writable: a copy has its signal file.
func former(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err != nil {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "standby.signal"))
	return os.IsNotExist(err)
}

// copyFormer copies the records of former owners at a site into the history: the checker's own view of what they had, before their
// agents learn of a successor. final says that no server runs there.
func (r *running) copyFormer(ctx context.Context, s estate.SiteID, final bool) error {
	groups, _ := r.groups(ctx) // without a control plane nobody has another owner yet
	for _, p := range r.layout.Of(site.Agent) {
		dir, _ := r.layout.DataDir(p.Member())
		if p.Site != s || !former(dir) {
			continue
		}
		for _, g := range groups {
			if g.Record.Group != p.Group() || g.Record.Owner.Member == p.Member() {
				continue
			}
			if left, ok := leftBy(g.Record, p.Member()); ok {
				if err := r.copyOne(ctx, g.Record, p.Member(), dir, left, final); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// leftBy is the newest ownership of a member that owns no more.
func leftBy(rec unit.Record, m estate.MemberID) (estate.Ownership, bool) {
	for _, p := range slices.Backward(rec.Past) {
		if p.Owner.Member == m {
			return p.Ownership, true
		}
	}
	return estate.Ownership{}, false
}

func (r *running) copyOne(ctx context.Context, rec unit.Record, m estate.MemberID, dir string, left estate.Ownership, final bool) error {
	name := string(m) + "-" + left.String()
	if r.copied[name] {
		return nil
	}
	bin, err := binDir()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(r.layout.Data, "copy-")
	if err != nil {
		return errs.New(errs.Unavailable, "cannot copy the database of %s: %w", m, err)
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o711); err != nil {
		return errs.New(errs.Unavailable, "cannot copy the database of %s: %w", m, err)
	}
	if !final {
		if dir, err = r.still(ctx, m, dir, filepath.Join(scratch, "still")); err != nil {
			return err
		}
	}
	c := collect.Copier{BinDir: bin, Credential: r.server, Scratch: scratch, User: superuser, Database: database}
	for _, u := range rec.Units {
		if err := c.Take(ctx, collect.Former{Dir: dir, Group: rec.Group, Member: m, Unit: u, Left: left}, final, r.hist); err != nil {
			return err
		}
	}
	r.copied[name] = true
	return nil
}

// still copies the directory of a living server while all of its processes stand still: what a loss of power would leave.
func (r *running) still(ctx context.Context, m estate.MemberID, dir, to string) (string, error) {
	name := databaseWord + string(m)
	if err := r.sup.Freeze(name); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "cp", "-a", "--", dir, to).CombinedOutput()
	if terr := r.sup.Thaw(name); terr != nil {
		return "", terr
	}
	if err != nil {
		return "", errs.New(errs.Unavailable, "cannot copy the database of %s: %s: %w", m, strings.TrimSpace(string(out)), err)
	}
	return to, nil
}

// sources are the servers of the units' final owners.
func (r *running) sources(ctx context.Context) ([]collect.Source, error) {
	groups, err := r.groups(ctx)
	if err != nil {
		return nil, err
	}
	var all []collect.Source
	for _, g := range groups {
		dir, ok := r.layout.DataDir(g.Record.Owner.Member)
		if !ok {
			continue
		}
		conn, err := connString(dir)
		if err != nil {
			return nil, errs.New(errs.Unavailable, "the owner of %s cannot be read: %w", g.Record.Group, err)
		}
		for _, u := range g.Record.Units {
			all = append(all, collect.Source{Unit: u, ConnString: conn})
		}
	}
	return all, nil
}

// openings records what the accounts opened with.
func (r *running) openings(ctx context.Context) error {
	sources, err := r.sources(ctx)
	if err != nil {
		return err
	}
	d, err := collect.Open(ctx, sources, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	all, err := d.Openings(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		if err := r.hist.Append(history.Event{Opening: &all[i]}); err != nil {
			return err
		}
	}
	return nil
}
