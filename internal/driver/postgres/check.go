package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/guard"
)

// serverChecks are the driver's part of I17; the guard's own part is guard.Verify. Each query gives the problem as text, or null.
var serverChecks = [...]struct {
	name, sql, fix string
	fatal          bool
}{
	{
		"version", `select case when current_setting('server_version_num')::int < 150013 then 'PostgreSQL ' || current_setting('server_version') || ' lets commits right after a start skip the wait for copies' end`,
		"upgrade to PostgreSQL 15.13 or newer", true,
	},
	{
		"proven-version", `select case when current_setting('server_version_num')::int >= 160000 then 'this driver was proven on PostgreSQL 15, not on ' || current_setting('server_version') end`,
		"use PostgreSQL 15", false,
	},
	{
		"checksums", `select case when current_setting('data_checksums') <> 'on' then 'the directory has no page checksums: a damaged page is not noticed' end`,
		"stop the server and run pg_checksums --enable", false,
	},
	{
		"rewindable", `select case when current_setting('data_checksums') <> 'on' and current_setting('wal_log_hints') <> 'on' then 'neither checksums nor wal_log_hints are on: a returning owner cannot be rewound' end`,
		"restart the server through its agent", true,
	},
	{
		"fsync", `select case when current_setting('fsync') <> 'on' then 'fsync is off: an acknowledged commit is not durable' end`,
		"restart the server through its agent", true,
	},
	{
		"full-page-writes", `select case when current_setting('full_page_writes') <> 'on' then 'full_page_writes is off: a crash can damage pages' end`,
		"restart the server through its agent", true,
	},
	{
		"restart-after-crash", `select case when current_setting('restart_after_crash') <> 'off' then 'restart_after_crash is on: the crash of one backend would not end the life of the server' end`,
		"restart the server through its agent", true,
	},
	{
		"slot-keep-size", `select case when current_setting('max_slot_wal_keep_size') = '-1' then 'max_slot_wal_keep_size is not set: the slot of a dead copy fills the disk' end`,
		"set max_slot_wal_keep_size below what is free on the disk", true,
	},
	{
		"reserved-connections", `select case when current_setting('superuser_reserved_connections')::int < 10 then 'only ' || current_setting('superuser_reserved_connections') || ' connections are reserved: applications could lock the agent out' end`,
		"set superuser_reserved_connections to at least 10", true,
	},
	{
		"gate-unlogged", `select case when exists (select from pg_class where oid = to_regclass('perdure.gate') and relpersistence <> 'u') then 'perdure.gate is logged: a promoted copy would be open in the old epoch' end`,
		"alter table perdure.gate set unlogged", true,
	},
	{
		"steering", `select case when coalesce(current_setting('perdure.member', true), '') = '' then 'the server was not started by its agent' end`,
		"stop it and let the agent start it", true,
	},
	{
		"replay-conflicts", `select case when setting::int not between 0 and 500 then 'max_standby_streaming_delay is ' || current_setting('max_standby_streaming_delay') || ': readers could delay a promotion' end from pg_settings where name = 'max_standby_streaming_delay'`,
		"set max_standby_streaming_delay to 500ms or less", false,
	},
	{
		"replay-lag", `select case when pg_is_in_recovery() and pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn() > 256 * 1024 * 1024
			then 'replay is ' || pg_size_pretty(pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn()) || ' behind what was received: a promotion takes as long as replaying it' end`,
		"end long queries on the copy, give it faster storage, or do not count on it", false,
	},
	{
		"lost-slots", `select 'slots lost their log: ' || string_agg(slot_name, ', ') from pg_replication_slots where wal_status = 'lost' having count(*) > 0`,
		"their members have to be copied anew; raise max_slot_wal_keep_size", false,
	},
}

// Check runs the installation checks of I17: those of the server, those of the guard.
func (d *Database) Check(ctx context.Context) ([]driver.Finding, error) {
	var found []driver.Finding
	err := d.session("tally").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		for _, c := range serverChecks {
			var problem *string
			if err := conn.QueryRow(ctx, c.sql).Scan(&problem); err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if problem != nil {
				found = append(found, driver.Finding{Check: c.name, Problem: *problem, Fix: c.fix, Fatal: c.fatal})
			}
		}
		readers, err := d.slowReaders(ctx, conn)
		if err != nil {
			return err
		}
		found = append(found, readers...)
		more, err := guard.Verify(ctx, conn)
		found = append(found, more...)
		return err
	})
	if err != nil {
		return nil, failed(err, "cannot check the installation of %s", d.o.Member)
	}
	return found, nil
}

// slowReaders finds transactions of others on a copy that are older than a promotion may wait.
func (d *Database) slowReaders(ctx context.Context, conn *pgx.Conn) ([]driver.Finding, error) {
	var count int
	var oldest float64
	err := conn.QueryRow(ctx, `select count(*)::int, coalesce(extract(epoch from max(clock_timestamp() - xact_start)), 0)::float8 from pg_stat_activity
		where pg_is_in_recovery() and backend_type = 'client backend' and application_name not like 'perdure agent %' and clock_timestamp() - xact_start > interval '5 seconds'`).Scan(&count, &oldest)
	if err != nil || count == 0 {
		return nil, err
	}
	return []driver.Finding{{
		Check: "readers", Problem: fmt.Sprintf("%d readers hold a snapshot on this copy, the oldest for %s: they are ended when it is promoted", count, time.Duration(oldest*float64(time.Second)).Round(time.Second)),
		Fix: "read from an asynchronous copy",
	}}, nil
}
