package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"perdure/internal/guard"
	"perdure/internal/pgtest"
	"perdure/sdk"
)

const (
	benchClients  = 16
	benchAccounts = 1000
)

// benchServer is a durable server with the guard, corebank and the same tables once more without any guard, for the baseline.
func benchServer(b *testing.B) *pgtest.Server {
	b.Helper()
	s := pgtest.Start(b, pgtest.Options{Durable: true, Settings: map[string]string{"shared_buffers": "128MB", "max_wal_size": "4GB"}})
	agent := s.Connect()
	if err := guard.Install(b.Context(), agent); err != nil {
		b.Fatal(err)
	}
	s.Exec(schemaSQL)
	if _, err := agent.Exec(b.Context(), guard.OpenSQL, []string{"u1"}, 1, "ab12", 1, "u1-a"); err != nil {
		b.Fatal(err)
	}
	s.Exec(fmt.Sprintf(`begin; select perdure.enter('u1');
		insert into corebank.account select 'acc-' || i, 0, 1000000, 1000000 from generate_series(0, %d) i; commit;
		create schema raw;
		create table raw.account (id text collate "C" primary key, slot int not null, opening numeric(20,2) not null, balance numeric(20,2) not null check (balance >= 0)) with (fillfactor = 60);
		insert into raw.account select * from corebank.account;
		create sequence raw.entry;
		create table raw.journal (entry bigint not null, account text collate "C" not null, amount numeric(20,2) not null check (amount <> 0), balance numeric(20,2),
			at timestamptz not null default clock_timestamp(), primary key (account, entry));
		grant usage on schema raw to perdure_app; grant all on all tables in schema raw to perdure_app; grant all on all sequences in schema raw to perdure_app`, benchAccounts-1))
	return s
}

// rawTransfer is the same business as statements of one transaction, without guard and key: the two lines of the journal as a statement
// each, or compact, as one.
func rawTransfer(ctx context.Context, pool *pgxpool.Pool, from, to string, compact bool) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var left, right string
		if err := tx.QueryRow(ctx, `update raw.account set balance = balance - 1.00 where id = $1 and balance >= 1.00 returning balance::text`, from).Scan(&left); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `update raw.account set balance = balance + 1.00 where id = $1 returning balance::text`, to).Scan(&right); err != nil {
			return err
		}
		if compact {
			_, err := tx.Exec(ctx, `insert into raw.journal (entry, account, amount, balance)
				select e, a, m, b from (select nextval('raw.entry') as e) s, (values ($1, -1.00, $2::text::numeric), ($3, 1.00, $4::text::numeric)) v (a, m, b)`, from, left, to, right)
			return err
		}
		var entry int64
		err := tx.QueryRow(ctx, `insert into raw.journal (entry, account, amount, balance) values (nextval('raw.entry'), $1, -1.00, $2::text::numeric) returning entry`, from, left).Scan(&entry)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into raw.journal (entry, account, amount, balance) values ($1, $2, 1.00, $3::text::numeric)`, entry, to, right)
		return err
	})
}

// cpu is the processor time that this process and the server's sessions have used.
func cpu(b *testing.B, s *pgtest.Server) (client, server time.Duration) {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), s.CPU()
}

// rate runs the transfers from all clients for a while and gives how many came back a second.
func rate(b *testing.B, d time.Duration, transfer func(ctx context.Context, from, to string) error) float64 {
	b.Helper()
	var (
		n    atomic.Int64
		wg   sync.WaitGroup
		stop atomic.Bool
	)
	begin := time.Now()
	for c := range benchClients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(begin.UnixNano()), uint64(c)))
			for !stop.Load() {
				x, y := r.IntN(benchAccounts), r.IntN(benchAccounts-1)
				if y >= x {
					y++
				}
				if x > y { // the baseline has no order of its own: give it one, so that it has no deadlocks
					x, y = y, x
				}
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				err := transfer(ctx, fmt.Sprintf("acc-%d", x), fmt.Sprintf("acc-%d", y))
				cancel()
				if err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	time.AfterFunc(d, func() { stop.Store(true) })
	wg.Wait()
	return float64(n.Load()) / time.Since(begin).Seconds()
}

// BenchmarkGuardedTransfer compares the guarded, idempotent transfer through the SDK with the same business in raw statements, in
// interleaved rounds. Run it with -benchtime=1x; the shapes' ratios to the baseline are the medians over the rounds.
func BenchmarkGuardedTransfer(b *testing.B) {
	s := benchServer(b)
	cfg, err := pgxpool.ParseConfig(s.URL("perdure_app"))
	if err != nil {
		b.Fatal(err)
	}
	cfg.MaxConns = benchClients
	pool, err := pgxpool.NewWithConfig(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	unit, err := sdk.Open("u1", s.URL("perdure_app"), sdk.Options{MaxConns: benchClients})
	if err != nil {
		b.Fatal(err)
	}
	defer unit.Close()
	var keys atomic.Int64
	hash := sdk.Fingerprint("POST", "/v1/transfers", nil)
	run := func(work func(from, to string) sdk.Work) func(ctx context.Context, from, to string) error {
		return func(ctx context.Context, from, to string) error {
			key := uuid7(keys.Add(1))
			_, err := unit.Run(ctx, sdk.Request{Slot: 7, Caller: sdk.Anonymous, RoutingKey: from, Key: key, Hash: hash}, work(from, to))
			return err
		}
	}
	shapes := []struct {
		name     string
		transfer func(ctx context.Context, from, to string) error
	}{
		{"raw", func(ctx context.Context, from, to string) error { return rawTransfer(ctx, pool, from, to, false) }},
		{"raw-compact", func(ctx context.Context, from, to string) error { return rawTransfer(ctx, pool, from, to, true) }},
		{"function", run(func(from, to string) sdk.Work { return sdk.Function("corebank.transfer", from, to, "1.00") })},
		{"grouped", run(func(from, to string) sdk.Work { return sdk.Grouped("corebank.transfer", from, to, "1.00") })},
		{"pipeline", run(pipelineTransfer)},
		{"interactive", run(interactiveTransfer)},
	}
	used := make([][2]time.Duration, len(shapes))
	done := make([]float64, len(shapes))
	const rounds, slice = 40, 400 * time.Millisecond // short and many: a busy machine disturbs all shapes alike
	for range b.N {
		rates := make([][]float64, len(shapes))
		ratios := make([][]float64, len(shapes))
		for round := range rounds + 1 {
			for i, sh := range shapes {
				c0, s0 := cpu(b, s)
				r := rate(b, slice, sh.transfer)
				c1, s1 := cpu(b, s)
				if round > 0 {
					used[i][0], used[i][1] = used[i][0]+c1-c0, used[i][1]+s1-s0
					done[i] += r * slice.Seconds()
				}
				if round > 0 { // the first fills caches
					rates[i] = append(rates[i], r)
				}
			}
			if round > 0 {
				for i := range shapes {
					ratios[i] = append(ratios[i], rates[i][round-1]/rates[0][round-1])
				}
			}
		}
		for i, sh := range shapes {
			b.ReportMetric(median(rates[i]), sh.name+"-tps")
			b.ReportMetric(median(ratios[i]), sh.name+"-ratio")
			quartiles := slices.Sorted(slices.Values(ratios[i]))
			b.Logf("%-12s %6.0f tps, %.3f of raw (middle half of %d rounds %.2f to %.2f), CPU per transfer %4.0f µs client, %4.0f µs server", sh.name,
				median(rates[i]), median(ratios[i]), rounds, quartiles[rounds/4], quartiles[rounds*3/4],
				float64(used[i][0].Microseconds())/done[i], float64(used[i][1].Microseconds())/done[i])
		}
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// uuid7 is a key as clients make it: a version 7 UUID of now.
func uuid7(n int64) string {
	ms := time.Now().UnixMilli()
	return fmt.Sprintf("%08x-%04x-7%03x-8000-%012x", ms>>16, ms&0xffff, n&0xfff, n)
}

// pipelineTransfer is the transfer as plain statements sent at once.
func pipelineTransfer(from, to string) sdk.Work {
	return sdk.Pipeline{
		Queue: func(b *pgx.Batch) {
			b.Queue(`update corebank.account set balance = balance - 1.00 where id = $1`, from)
			b.Queue(`update corebank.account set balance = balance + 1.00 where id = $1`, to)
			b.Queue(`insert into corebank.journal (entry, account, amount, caller, routing_key, key)
				select e, a, m, 'anonymous', '', '' from (select nextval('corebank.entry') as e) s, (values ($1, -1.00), ($2, 1.00)) v (a, m)`, from, to)
		},
		Result: sdk.Result{Status: 201, ContentType: "application/json", Body: []byte(`{}`), Accounts: []string{from, to}, Amount: "1.00"},
	}
}

// interactiveTransfer is the transfer as code between statements.
func interactiveTransfer(from, to string) sdk.Work {
	return sdk.Interactive(func(ctx context.Context, tx sdk.Tx) (sdk.Result, error) {
		if _, err := tx.Exec(ctx, `update corebank.account set balance = balance - 1.00 where id = $1`, from); err != nil {
			return sdk.Result{}, err
		}
		if _, err := tx.Exec(ctx, `update corebank.account set balance = balance + 1.00 where id = $1`, to); err != nil {
			return sdk.Result{}, err
		}
		_, err := tx.Exec(ctx, `insert into corebank.journal (entry, account, amount, caller, routing_key, key)
			select e, a, m, 'anonymous', '', '' from (select nextval('corebank.entry') as e) s, (values ($1, -1.00), ($2, 1.00)) v (a, m)`, from, to)
		return sdk.Result{Status: 201, ContentType: "application/json", Body: []byte(`{}`), Accounts: []string{from, to}, Amount: "1.00"}, err
	})
}
