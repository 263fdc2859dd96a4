package app

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"perdure/internal/agent"
	"perdure/internal/driver/postgres"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

// appRole is the role that applications log in with.
const appRole = "perdure_app"

// RunAgent looks after one database directory until ctx ends; the database goes on.
func RunAgent(ctx context.Context, c AgentConfig) error {
	p, err := c.begin(os.Stderr)
	if err != nil {
		return err
	}
	go p.mindCertificates(ctx)
	db, err := c.database(p)
	if err != nil {
		return err
	}
	serverTLS, err := p.files.ServerTLS(false)
	if err != nil {
		return err
	}
	listener, err := listen(c.Listen)
	if err != nil {
		return err
	}
	client, err := p.machineClient()
	if err != nil {
		return err
	}
	nodes, err := newNodes(p, c.Nodes)
	if err != nil {
		return err
	}
	return agent.New(nodes, db, agent.Options{
		Group: estate.GroupID(c.Group), Member: estate.MemberID(c.Name), Site: estate.SiteID(c.Site),
		StateDir: c.DataDir, Timing: unit.DefaultTiming(), Listener: tls.NewListener(listener, serverTLS), Client: client, Sandboxes: db, Archives: db, Logger: p.log,
	}).Run(ctx)
}

func (c AgentConfig) database(p process) (*postgres.Database, error) {
	secret, err := readSecret(c.Postgres.ReplicationSecret)
	if err != nil {
		return nil, err
	}
	dir := c.Postgres.Directory
	if dir == "" {
		dir = filepath.Join(c.DataDir, "data")
	}
	return postgres.New(postgres.Options{
		Member: estate.MemberID(c.Name), BinDir: c.Postgres.Bin, DataDir: dir, RunDir: filepath.Join(c.DataDir, "run"),
		ListenAddresses: c.Postgres.Listen, Port: c.Postgres.Port, User: c.Postgres.User, Database: c.Postgres.Database,
		Settings: c.Postgres.Settings, Logger: p.log, Resolve: p.resolve,
		Password: func(role string) (string, error) {
			if role == appRole && c.Postgres.AppPasswordFile != "" {
				own, err := readSecret(c.Postgres.AppPasswordFile)
				return string(own), err
			}
			return derive(secret, role), nil
		},
		Prepare: c.prepare,
	})
}

// prepare runs the business's own schema once, when the directory is created from nothing.
func (c AgentConfig) prepare(ctx context.Context, conn *pgx.Conn) error {
	for _, file := range c.Postgres.InitSQL {
		text, err := os.ReadFile(file)
		if err != nil {
			return errs.New(errs.Invalid, "cannot read initSQL: %w", err)
		}
		if _, err := conn.Exec(ctx, string(text)); err != nil {
			return errs.New(errs.Invalid, "%s: %w", file, err)
		}
	}
	return nil
}
