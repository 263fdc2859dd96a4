package lab

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/proc"
	"perdure/internal/unit"
)

// clones starts a clone of each copy and gives the names under which they run.
func (r *running) clones(ctx context.Context, fault string, copies []string) ([]string, error) {
	var names []string
	for _, name := range copies {
		m := estate.MemberID(strings.TrimPrefix(name, databaseWord))
		server, err := r.clone(ctx, fault, m)
		if err != nil {
			return nil, errs.New(errs.Unavailable, "%s cannot be cloned: %w", m, err)
		}
		names = append(names, server)
	}
	return names, nil
}

// clone copies the directory of a copy and runs it at the owner's site, as somebody does who made a second copy with the first one's
// configuration and forgot it: it streams under the copy's name. It has no slot, which can be held once only, and nobody can log in.
func (r *running) clone(ctx context.Context, fault string, m estate.MemberID) (string, error) {
	dir, ok := r.layout.DataDir(m)
	if !ok {
		return "", errs.New(errs.NotFound, "no member %q", m)
	}
	text, err := connString(dir)
	if err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, text)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var upstream, config, hba, ident string
	if err := conn.QueryRow(ctx, "select current_setting('primary_conninfo'), current_setting('config_file'), current_setting('hba_file'), current_setting('ident_file')").Scan(&upstream, &config, &hba, &ident); err != nil {
		return "", err
	}
	owner, address, port, err := r.ownerOf(ctx, m)
	if err != nil {
		return "", err
	}
	name := "clone-" + fault
	data := filepath.Join(r.layout.Data, name)
	if err := r.sup.AddDatabase(proc.Database{Name: name, Site: owner, Dir: data}); err != nil {
		return "", err
	}
	if _, err := r.still(ctx, m, dir, data); err != nil {
		return "", err
	}
	if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil {
		return "", err
	}
	bin, err := binDir()
	if err != nil {
		return "", err
	}
	upstream = regexp.MustCompile(`\b(hostaddr|port)=\S+`).ReplaceAllString(upstream, "") + " hostaddr=" + address + " port=" + strconv.Itoa(port)
	args := []string{"-D", data}
	for _, setting := range []string{
		"config_file=" + config, "hba_file=" + hba, "ident_file=" + ident, "primary_conninfo=" + upstream, "primary_slot_name=", "hot_standby=off", "listen_addresses=", "unix_socket_directories=" + data,
		"logging_collector=off", "wal_receiver_status_interval=1s",
	} {
		args = append(args, "-c", setting)
	}
	err = r.sup.Start(proc.Spec{
		Name: name, Site: owner, Path: filepath.Join(bin, "postgres"), Args: args, Dir: data, User: r.server, Once: true,
		Log: filepath.Join(r.layout.Dir, "log", name+".log"),
	})
	return databaseWord + name, err
}

// ownerOf gives the site of the owner that a copy follows, and where its server listens there.
func (r *running) ownerOf(ctx context.Context, m estate.MemberID) (estate.SiteID, string, int, error) {
	groups, err := r.groups(ctx)
	if err != nil {
		return "", "", 0, err
	}
	for _, g := range groups {
		member := func(id estate.MemberID) int {
			return slices.IndexFunc(g.Record.Members, func(o unit.Member) bool { return o.ID == id })
		}
		owner := g.Record.Owner.Member
		if member(m) < 0 || member(owner) < 0 {
			continue
		}
		dir, _ := r.layout.DataDir(owner)
		text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
		lines := strings.Split(string(text), "\n")
		if err != nil || len(lines) < 6 {
			return "", "", 0, errs.New(errs.Unavailable, "the server of %s does not run", owner)
		}
		port, err := strconv.Atoi(strings.TrimSpace(lines[3]))
		if err != nil {
			return "", "", 0, errs.New(errs.Unavailable, "the server of %s is only starting", owner)
		}
		return g.Record.Members[member(owner)].Site, strings.TrimSpace(lines[5]), port, nil
	}
	return "", "", 0, errs.New(errs.NotFound, "nobody owns what %s is a copy of", m)
}
