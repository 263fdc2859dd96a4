package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/guard"
)

func (s *session) guardCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "guard", Short: "Install and verify the guard in a business database", Args: cobra.ArbitraryArgs, RunE: parent,
		Long: "Install and verify the guard, schema perdure, in a business database.\nThe connection comes from --database or from PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSFILE.",
	}
	c.AddCommand(s.guardInstallCommand(), s.guardVerifyCommand())
	return c
}

// notConnected says why a database cannot be reached, in one line: the driver tells of every address and way of encryption it tried.
func notConnected(config *pgx.ConnConfig, err error) error {
	to := fmt.Sprintf("cannot connect to %s:%d as %s", config.Host, config.Port, config.User)
	var said *pgconn.PgError
	switch {
	case errors.As(err, &said) && strings.HasPrefix(said.Code, "28"):
		return errs.New(errs.Unauthorised, "%s: %s; give user and password in --database, or PGPASSWORD", to, said.Message)
	case errors.As(err, &said):
		return errs.New(errs.Unavailable, "%s: %s", to, said.Message)
	case errors.Is(err, context.Canceled):
		return errs.New(errs.Unavailable, "%s: %w", to, err)
	case errors.Is(err, context.DeadlineExceeded):
		return errs.New(errs.Unavailable, "%s: no answer in time", to)
	case errors.Is(err, fs.ErrNotExist):
		return errs.New(errs.Unavailable, "%s: no server has its socket there; say which database is meant with --database \"host=db port=5432 dbname=bank user=postgres\"", to)
	case errors.Is(err, syscall.ECONNREFUSED):
		return errs.New(errs.Unavailable, "%s: connection refused, nothing listens there", to)
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return errs.New(errs.Unavailable, "%s: %s", to, strings.TrimSpace(lines[len(lines)-1]))
}

// onDatabase runs f on a connection that ends with it.
func (s *session) onDatabase(ctx context.Context, target string, f func(context.Context, *pgx.Conn) error) error {
	config, err := pgx.ParseConfig(target)
	if err != nil {
		// The error could repeat a password.
		return usagef("the connection string cannot be read; write it like \"host=db port=5432 dbname=bank user=postgres\"")
	}
	dialing, cancel := context.WithTimeout(ctx, s.context.timeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(dialing, config)
	if err != nil {
		return notConnected(config, err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // the process ends anyway
	}()
	return f(ctx, conn)
}

func databaseFlag(c *cobra.Command, target *string) {
	c.Flags().StringVar(target, "database", "", "connection string; keep passwords in a passfile")
}

func (s *session) guardInstallCommand() *cobra.Command {
	var target string
	c := &cobra.Command{
		Use: "install", Short: "Install or upgrade schema perdure and its roles, in one transaction; safe to repeat", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.onDatabase(cmd.Context(), target, func(ctx context.Context, conn *pgx.Conn) error {
				before, err := guard.InstalledVersion(ctx, conn)
				if err != nil {
					return err
				}
				if err := guard.Install(ctx, conn); err != nil {
					return err
				}
				if s.json {
					return s.emit(map[string]int{"before": before, "installed": guard.Version})
				}
				fmt.Fprintln(s.Out, s.say(guardInstalled, guard.Version, before))
				return nil
			})
		},
	}
	databaseFlag(c, &target)
	return c
}

func (s *session) guardVerifyCommand() *cobra.Command {
	var target string
	c := &cobra.Command{
		Use: "verify", Short: "Check that the guard is installed properly and that every business table is behind it", Args: exactly(),
		Long: "Check that the guard is installed properly and that every business table is behind it.\nEnds with 3 where there is a finding; with a FATAL one the database is not adopted, and status shouts it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.onDatabase(cmd.Context(), target, func(ctx context.Context, conn *pgx.Conn) error {
				findings, err := guard.Verify(ctx, conn)
				if err != nil {
					return err
				}
				return s.showFindings(findings)
			})
		},
	}
	databaseFlag(c, &target)
	return c
}

func (s *session) showFindings(findings []driver.Finding) error {
	if s.json {
		if err := s.emit(map[string]any{"findings": append([]driver.Finding{}, findings...)}); err != nil {
			return err
		}
	} else {
		s.showFindingLines(findings)
		if len(findings) == 0 {
			fmt.Fprintln(s.Out, s.say(guardGood))
		}
	}
	if len(findings) > 0 {
		return errs.Refuse("I17", "%s", s.say(guardBad, len(findings)))
	}
	return nil
}

func (s *session) showFindingLines(findings []driver.Finding) {
	for _, f := range findings {
		mark, c := s.say(findingWord), yellow
		if f.Fatal {
			mark, c = s.say(fatalWord), red
		}
		fmt.Fprintf(s.Out, "%s  %s: %s\n    %s\n", s.paint(c, mark), f.Check, f.Problem, f.Fix)
	}
}
