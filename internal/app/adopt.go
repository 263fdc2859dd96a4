package app

import (
	"context"
	"io"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver/postgres"
	"perdure/internal/errs"
)

// AdoptDatabase takes the directory of an agent's configuration over from whoever ran it so far. decide is shown what was found and
// what would change, and says whether to go on; inside leads a superuser into the running server's business database, nil where
// nobody does. Afterwards the directory is stopped and closed, and only its agent starts it. The agent must not run meanwhile.
func AdoptDatabase(ctx context.Context, c AgentConfig, inside *pgx.ConnConfig, decide func(postgres.Survey) (bool, error)) error {
	p, err := c.begin(io.Discard)
	if err != nil {
		return err
	}
	db, err := c.database(p)
	if err != nil {
		return err
	}
	defer db.Release()
	found, err := survey(ctx, db, inside)
	if err != nil {
		return err
	}
	goOn, err := decide(found)
	if err != nil || !goOn || found.Mine {
		return err
	}
	return db.Adopt(ctx)
}

func survey(ctx context.Context, db *postgres.Database, inside *pgx.ConnConfig) (postgres.Survey, error) {
	if inside == nil {
		return db.Survey(ctx, nil)
	}
	conn, err := pgx.ConnectConfig(ctx, inside)
	if err != nil {
		return postgres.Survey{}, errs.New(errs.Unavailable, "cannot connect to %s:%d: %w", inside.Host, inside.Port, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return db.Survey(ctx, conn)
}
