package pgtest_test

import (
	"context"
	"errors"
	"testing"

	"perdure/internal/pgtest"
)

func TestServerSurvivesCrashAndFeedsACopy(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	s.Exec("create table t (i int); insert into t values (1)")
	s.Kill()
	s.Run()
	s.Exec("insert into t values (2)")
	c := s.Copy("copy")
	conn := c.Connect()
	c.Await("the copy has both rows", func(ctx context.Context) error {
		var n int
		if err := conn.QueryRow(ctx, "select count(*) from t").Scan(&n); err != nil {
			return err
		}
		if n != 2 {
			return errors.New("rows are missing")
		}
		return nil
	})
	c.Promote()
	c.Exec("insert into t values (3)")
}
