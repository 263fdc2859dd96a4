package postgres

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// Fixed settings stand on the command line: no file, whoever wrote it, changes them.
var fixed = [...][2]string{
	{"wal_level", "logical"},
	{"hot_standby", "on"},
	{"wal_log_hints", "on"},
	{"fsync", "on"},
	{"full_page_writes", "on"},
	{"max_prepared_transactions", "0"},
	// A backend crash would reset unlogged tables and keep pg_postmaster_start_time; with off it ends the life of the
	// server, which is seen at once, and the next one is another life (I1).
	{"restart_after_crash", "off"},
	{"ignore_invalid_pages", "off"},
	{"data_sync_retry", "off"},
	{"promote_trigger_file", ""},
	{"restore_command", ""},
	{"recovery_target_timeline", "latest"},
	{"recovery_target", ""},
}

// defaults may be changed by Options.Settings. They must be the same, or grow first on the copies, within a group.
var defaults = map[string]string{
	"max_connections":                  "200",
	"superuser_reserved_connections":   "10",
	"max_wal_senders":                  "16",
	"max_replication_slots":            "16",
	"max_worker_processes":             "16",
	"max_slot_wal_keep_size":           "4GB",
	"wal_keep_size":                    "256MB",
	"max_wal_size":                     "1GB", // initdb derives both of the size of a segment
	"min_wal_size":                     "80MB",
	"wal_retrieve_retry_interval":      "100ms",
	"wal_receiver_status_interval":     "1s",
	"wal_receiver_timeout":             "5s",
	"wal_sender_timeout":               "5s",
	"max_standby_streaming_delay":      "500ms",
	"max_standby_archive_delay":        "500ms",
	"hot_standby_feedback":             "on",
	"synchronous_commit":               "on",
	"password_encryption":              "scram-sha-256",
	"lc_messages":                      "C",
	"log_timezone":                     "UTC",
	"log_line_prefix":                  "%m [%p] %q%u@%d %a ",
	"log_checkpoints":                  "on",
	"logging_collector":                "on",
	"log_filename":                     "postgresql-%a.log",
	"log_truncate_on_rotation":         "on",
	"log_rotation_age":                 "1d",
	"log_rotation_size":                "0",
	"tcp_keepalives_idle":              "5",
	"tcp_keepalives_interval":          "2",
	"tcp_keepalives_count":             "3",
	"client_connection_check_interval": "1s",
}

// owned are settings the driver decides; they are refused in Options.Settings.
var owned = []string{
	"archive_cleanup_command", "cluster_name", "config_file", "data_directory", "external_pid_file", "hba_file", "ident_file",
	"include", "include_dir", "include_if_exists", "listen_addresses", "log_directory", "port", "primary_conninfo", "primary_slot_name", "recovery_end_command",
	"recovery_min_apply_delay", "recovery_target_action", "recovery_target_inclusive", "recovery_target_lsn", "recovery_target_name",
	"recovery_target_time", "recovery_target_xid", "synchronous_standby_names", "unix_socket_directories", "zero_damaged_pages",
}

func refuseSettings(settings map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		lower := strings.ToLower(name)
		forbidden := slices.Contains(owned, lower) || strings.HasPrefix(lower, "perdure.")
		for _, f := range fixed {
			forbidden = forbidden || f[0] == lower
		}
		if forbidden {
			return errs.New(errs.Invalid, "setting %s belongs to the agent: remove it from the configured settings", name)
		}
	}
	return nil
}

// arguments is the command line of the server under the name of a life.
func (d *Database) arguments(life string) []string {
	args := []string{
		"-c", "config_file=" + d.configFile(), "-c", "hba_file=" + filepath.Join(d.o.RunDir, "pg_hba.conf"),
		"-c", "ident_file=" + filepath.Join(d.o.RunDir, "pg_ident.conf"),
		"-c", "listen_addresses=" + d.o.ListenAddresses, "-c", "port=" + strconv.Itoa(d.o.Port),
		"-c", "unix_socket_directories=" + d.socketDir(), "-c", "unix_socket_permissions=0700",
		"-c", "cluster_name=" + life,
	}
	return append(args, fixedArguments()...)
}

// privateArguments is the command line of a server that nobody but the agent reaches and that reaches nobody (I6).
func (d *Database) privateArguments() []string {
	args := []string{
		"-c", "config_file=" + d.configFile(), "-c", "hba_file=" + filepath.Join(d.o.RunDir, "pg_hba.conf"),
		"-c", "ident_file=" + filepath.Join(d.o.RunDir, "pg_ident.conf"),
		"-c", "listen_addresses=", "-c", "port=" + strconv.Itoa(d.o.Port),
		"-c", "unix_socket_directories=" + d.privateDir(), "-c", "unix_socket_permissions=0700",
		"-c", "cluster_name=private",
		"-c", "max_wal_senders=0", "-c", "max_logical_replication_workers=0", "-c", "autovacuum=off", "-c", "archive_mode=off",
		"-c", "logging_collector=off", "-c", "shared_preload_libraries=",
	}
	return append(args, fixedArguments()...)
}

func fixedArguments() []string {
	var args []string
	for _, f := range fixed {
		args = append(args, "-c", f[0]+"="+f[1])
	}
	return args
}

func (d *Database) configFile() string { return filepath.Join(d.o.RunDir, "postgresql.conf") }

// configure writes the server's configuration: settings, who may connect, who is the agent.
func (d *Database) configure() error {
	settings := maps.Clone(defaults)
	for name, value := range d.o.Settings {
		settings[strings.ToLower(name)] = value
	}
	settings["log_directory"] = filepath.Join(d.o.RunDir, "log")
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by the perdure agent of %s before every start. Change the agent's configuration instead.\n", d.o.Member)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = %s\n", name, quoteSetting(settings[name]))
	}
	if err := d.writeFile(d.configFile(), b.String(), true); err != nil {
		return err
	}
	b.Reset()
	fmt.Fprintf(&b, "# Written by the perdure agent of %s before every start.\n", d.o.Member)
	fmt.Fprintf(&b, "local all %s peer map=agent\nlocal replication %[1]s peer map=agent\n", quoteName(d.o.Superuser))
	fmt.Fprintf(&b, "host all %s 0.0.0.0/0 reject\nhost all %[1]s ::/0 reject\n", quoteName(d.o.Superuser))
	fmt.Fprintf(&b, "host replication +perdure_replica all scram-sha-256\n")
	for _, line := range d.o.HBA {
		b.WriteString(line + "\n")
	}
	b.WriteString("local all all scram-sha-256\nhost all all all scram-sha-256\n")
	if err := d.writeFile(filepath.Join(d.o.RunDir, "pg_hba.conf"), b.String(), true); err != nil {
		return err
	}
	b.Reset()
	for _, name := range d.osUsers() {
		fmt.Fprintf(&b, "agent %s %s\n", quoteName(name), quoteName(d.o.Superuser))
	}
	return d.writeFile(filepath.Join(d.o.RunDir, "pg_ident.conf"), b.String(), true)
}

// block makes a start of the directory without its agent fail: with a message that says why, and, while pg_rewind rewrites
// that file, for want of a pg_hba.conf, which no directory of a group has (I6).
func (d *Database) block(dir string) error {
	text := "# This database is run by a perdure agent, which keeps its configuration elsewhere.\n" +
		"# Starting it by hand could make two owners of one database: start the agent of its member instead.\n" +
		"include '" + blocked + "'\n"
	if err := d.writeFile(filepath.Join(dir, "postgresql.conf"), text, true); err != nil {
		return err
	}
	for _, name := range []string{"pg_hba.conf", "pg_ident.conf"} {
		if err := removeFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

const blocked = "this-database-is-started-only-by-its-perdure-agent"

// steering is what decides whom a server follows and who has to acknowledge. It stands in postgresql.auto.conf, which the
// server reads last, under the name of its member: a file that came from another member's directory counts as severed.
type steering struct {
	life     string           // the name under which it follows
	upstream *driver.Upstream // nil: severed, or an owner
	address  string           // resolved host of the upstream
	sync     []string         // all of them have to acknowledge (I2)
	former   []string         // the set before a proof that is under way
	proving  bool
}

func steeringFile(dir string) string { return filepath.Join(dir, "postgresql.auto.conf") }

// steer writes the steering of a directory. Only a cut and a new upstream have to survive a crash of the machine:
// sync names never do, because every start clears them.
func (d *Database) steer(dir string, s steering, durable bool) error {
	var b strings.Builder
	b.WriteString("# Written by the perdure agent. Changes by hand are lost.\n")
	set := func(name, value string) { fmt.Fprintf(&b, "%s = %s\n", name, quoteSetting(value)) }
	set("perdure.member", string(d.o.Member))
	set("perdure.life", s.life)
	conninfo, slot, upstream := "", "", ""
	if s.upstream != nil {
		conninfo = d.conninfo(*s.upstream, s.address, s.life)
		slot = SlotOf(d.o.Member)
		upstream = fmt.Sprintf("%s %s %d %s", s.upstream.Member, s.upstream.Host, s.upstream.Port, s.address)
	}
	set("perdure.upstream", upstream)
	if s.proving {
		set("perdure.former_names", strings.Join(s.former, " "))
	}
	set("primary_conninfo", conninfo)
	set("primary_slot_name", slot)
	set("synchronous_standby_names", syncNames(s.sync))
	return d.writeFile(steeringFile(dir), b.String(), durable)
}

// steered reads the steering of a directory; own is false where the file is missing or another member's.
func (d *Database) steered(dir string) (s steering, own bool) {
	text, err := os.ReadFile(steeringFile(dir))
	if err != nil {
		return steering{}, false
	}
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); ok && !strings.HasPrefix(name, "#") {
			values[name] = unquoteSetting(strings.TrimSpace(value))
		}
	}
	if values["perdure.member"] != string(d.o.Member) {
		return steering{}, false
	}
	s.life = values["perdure.life"]
	if values["primary_conninfo"] != "" {
		s.upstream, s.address = parseUpstream(values["perdure.upstream"])
	}
	s.sync = parseSyncNames(values["synchronous_standby_names"])
	if former, ok := values["perdure.former_names"]; ok {
		s.proving, s.former = true, strings.Fields(former)
	}
	return s, true
}

func parseUpstream(text string) (*driver.Upstream, string) {
	f := strings.Fields(text)
	if len(f) != 4 {
		return nil, ""
	}
	port, err := strconv.Atoi(f[2])
	if err != nil {
		return nil, ""
	}
	return &driver.Upstream{Member: estate.MemberID(f[0]), Host: f[1], Port: port}, f[3]
}

// syncNames writes synchronous_standby_names so that all of the names have to acknowledge; never *, never fewer (I2).
func syncNames(names []string) string {
	if len(names) == 0 {
		return ""
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quoteName(n)
	}
	return fmt.Sprintf("FIRST %d (%s)", acknowledgers(names), strings.Join(quoted, ", "))
}

// parseSyncNames reads the names out of any form of synchronous_standby_names.
func parseSyncNames(value string) []string {
	if open := strings.IndexByte(value, '('); open >= 0 {
		value = strings.TrimSuffix(strings.TrimSpace(value[open+1:]), ")")
	}
	var names []string
	for n := range strings.SplitSeq(value, ",") {
		n = strings.TrimSpace(n)
		if len(n) >= 2 && n[0] == '"' && n[len(n)-1] == '"' {
			n = strings.ReplaceAll(n[1:len(n)-1], `""`, `"`)
		}
		if n != "" {
			names = append(names, n)
		}
	}
	return names
}

// checkNames refuses what could never mean exactly one life.
func checkNames(names []string) error {
	seen := map[string]bool{}
	for _, n := range names {
		if _, err := estate.ParseLife(n); err != nil || len(n) > 63 || strings.ContainsAny(n, " ,\"'\\()*") {
			return errs.New(errs.Invalid, "in-sync name %q is not the name of a member's life (at most 63 bytes, for example u1-b.4)", n)
		}
		if key := strings.ToLower(n); seen[key] {
			return errs.Refuse("I2", "in-sync name %q is listed twice: every member acknowledges for itself", n)
		} else {
			seen[key] = true
		}
	}
	return nil
}

// quoteSetting writes a value for a configuration file.
func quoteSetting(v string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\n", `\n`).Replace(v) + "'"
}

func unquoteSetting(v string) string {
	if len(v) < 2 || v[0] != '\'' || v[len(v)-1] != '\'' {
		return v
	}
	return strings.NewReplacer(`\\`, `\`, `''`, `'`, `\n`, "\n", `\'`, `'`).Replace(v[1 : len(v)-1])
}

// quoteName quotes an SQL, hba or synchronous name.
func quoteName(n string) string { return `"` + strings.ReplaceAll(n, `"`, `""`) + `"` }

// quoteConn quotes a value of a connection string.
func quoteConn(v string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}
