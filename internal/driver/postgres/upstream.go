package postgres

import (
	"context"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// upstreamWait bounds one question to an upstream.
const upstreamWait = 3 * time.Second

// conninfo is how PostgreSQL's own programs reach an upstream. The password lies in RunDir, where no copy of the directory finds it.
func (d *Database) conninfo(up driver.Upstream, address, application string) string {
	return d.conninfoBy(d.passFile(), up, address, application)
}

func (d *Database) conninfoBy(passFile string, up driver.Upstream, address, application string) string {
	values := map[string]string{
		"host": up.Host, "hostaddr": address, "port": strconv.Itoa(up.Port), "user": RoleOf(d.o.Member),
		"passfile": passFile, "application_name": application, "connect_timeout": "3", "dbname": d.o.Database,
		"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3", "tcp_user_timeout": "5000",
		"sslmode": "prefer", "gssencmode": "disable", "channel_binding": "prefer",
	}
	maps.Copy(values, d.o.ConnInfo)
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if values[k] != "" {
			parts = append(parts, k+"="+quoteConn(values[k]))
		}
	}
	return strings.Join(parts, " ")
}

func (d *Database) passFile() string { return filepath.Join(d.o.RunDir, "upstream.pass") }

// writePass writes the password towards upstreams. Without the file no WAL receiver can connect: see Sever.
func (d *Database) writePass() error { return d.writePassTo(d.passFile()) }

func (d *Database) writePassTo(file string) error {
	password, err := d.o.Password(RoleOf(d.o.Member))
	if err != nil {
		return errs.New(errs.Invalid, "no replication password for %s: %w", d.o.Member, err)
	}
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	return d.writeFile(file, fmt.Sprintf("*:*:*:%s:%s\n", RoleOf(d.o.Member), escape.Replace(password)), true)
}

// resolve gives the address of an upstream.
func (d *Database) resolve(ctx context.Context, up driver.Upstream) (string, error) {
	if up.Host == "" || up.Port == 0 || strings.ContainsAny(up.Host, " \t\n") || strings.ContainsAny(string(up.Member), " \t\n") {
		return "", errs.New(errs.Invalid, "upstream %q has no usable host and port", up.Member)
	}
	ctx, cancel := context.WithTimeout(ctx, upstreamWait)
	defer cancel()
	address, err := d.o.Resolve(ctx, up.Host)
	if err != nil {
		return "", errs.New(errs.Unavailable, "cannot resolve %s, the host of %s: %w", up.Host, up.Member, err)
	}
	if net.ParseIP(address) == nil {
		addresses, err := net.DefaultResolver.LookupHost(ctx, address)
		if err != nil || len(addresses) == 0 {
			return "", errs.New(errs.Unavailable, "cannot resolve %s, the host of %s", address, up.Member)
		}
		address = addresses[0]
	}
	return address, nil
}

// dialUpstream connects to an upstream as this member: to its database, or as a walsender where replication is set.
func (d *Database) dialUpstream(ctx context.Context, up driver.Upstream, replication bool) (*pgx.Conn, error) {
	address, err := d.resolve(ctx, up)
	if err != nil {
		return nil, err
	}
	password, err := d.o.Password(RoleOf(d.o.Member))
	if err != nil {
		return nil, errs.New(errs.Invalid, "no replication password for %s: %w", d.o.Member, err)
	}
	var tls []string
	for k, v := range d.o.ConnInfo {
		if strings.HasPrefix(k, "ssl") {
			tls = append(tls, k+"="+quoteConn(v))
		}
	}
	c, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=prefer %s",
		quoteConn(up.Host), up.Port, RoleOf(d.o.Member), quoteConn(d.o.Database), strings.Join(tls, " ")))
	if err != nil {
		return nil, errs.New(errs.Invalid, "connection to %s: %w", up.Member, err)
	}
	c.Password = password
	c.ConnectTimeout = upstreamWait
	c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{address}, nil }
	c.RuntimeParams["application_name"] = "perdure agent of " + string(d.o.Member)
	if replication {
		c.RuntimeParams["replication"] = "true"
		c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot reach %s at %s port %d: %w", up.Member, up.Host, up.Port, err)
	}
	return conn, nil
}

// span is one timeline of a history: it ends at End, 0 for the newest.
type span struct {
	Timeline uint32
	End      estate.LSN
}

// history is what an upstream says of its past.
type history struct {
	SystemID string
	Timeline uint32
	Position estate.LSN
	Spans    []span // oldest first, the newest last
}

// askHistory asks an upstream over the replication protocol.
func (d *Database) askHistory(ctx context.Context, up driver.Upstream) (history, error) {
	ctx, cancel := context.WithTimeout(ctx, upstreamWait)
	defer cancel()
	conn, err := d.dialUpstream(ctx, up, true)
	if err != nil {
		return history{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	row, err := oneRow(ctx, conn.PgConn(), "IDENTIFY_SYSTEM")
	if err != nil {
		return history{}, failed(err, "cannot ask %s who it is", up.Member)
	}
	h := history{SystemID: row[0]}
	timeline, err := strconv.ParseUint(row[1], 10, 32)
	if err != nil {
		return history{}, errs.New(errs.Internal, "timeline of %s: %w", up.Member, err)
	}
	h.Timeline = uint32(timeline)
	if h.Position, err = estate.ParseLSN(row[2]); err != nil {
		return history{}, errs.New(errs.Internal, "position of %s: %w", up.Member, err)
	}
	if h.Timeline > 1 {
		row, err := oneRow(ctx, conn.PgConn(), fmt.Sprintf("TIMELINE_HISTORY %d", h.Timeline))
		if err != nil {
			return history{}, failed(err, "cannot ask %s for its history", up.Member)
		}
		if h.Spans, err = parseHistory(row[1]); err != nil {
			return history{}, err
		}
	}
	h.Spans = append(h.Spans, span{Timeline: h.Timeline})
	return h, nil
}

func oneRow(ctx context.Context, conn *pgconn.PgConn, command string) ([]string, error) {
	results, err := conn.Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) == 0 || len(results[0].Rows) == 0 || len(results[0].Rows[0]) < 2 {
		return nil, errs.New(errs.Unavailable, "%s gave no answer", command)
	}
	var row []string
	for _, v := range results[0].Rows[0] {
		row = append(row, string(v))
	}
	return row, nil
}

// parseHistory reads a timeline history file: "timeline TAB end TAB reason".
func parseHistory(text string) ([]span, error) {
	var spans []span
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		timeline, err := strconv.ParseUint(f[0], 10, 32)
		if err != nil {
			return nil, errs.New(errs.Internal, "timeline history line %q: %w", strings.TrimSpace(line), err)
		}
		end, err := estate.ParseLSN(f[1])
		if err != nil {
			return nil, errs.New(errs.Internal, "timeline history line %q: %w", strings.TrimSpace(line), err)
		}
		spans = append(spans, span{Timeline: uint32(timeline), End: end})
	}
	return spans, nil
}

// fork gives where the two histories part: the position up to which they are the same, 0 with ok where one only continues
// the other without an end. ok is false where they have nothing in common.
func fork(mine, theirs []span) (at estate.LSN, ok bool) {
	for i := range min(len(mine), len(theirs)) {
		if mine[i].Timeline != theirs[i].Timeline {
			return at, i > 0
		}
		switch m, t := mine[i].End, theirs[i].End; {
		case m == 0 && t == 0:
			return 0, true
		case m == 0 || t != 0 && t < m:
			return t, true
		case t == 0 || m < t:
			return m, true
		default:
			at = m
		}
	}
	return at, len(mine) > 0 && len(theirs) > 0
}
