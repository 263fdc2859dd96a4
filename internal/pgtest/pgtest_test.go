package pgtest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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

func TestKilledServerLeavesNothingInTheKernel(t *testing.T) {
	var id int
	t.Run("a test that starts a server", func(t *testing.T) {
		s := pgtest.Start(t, pgtest.Options{})
		text, err := os.ReadFile(filepath.Join(s.Dir, "postmaster.pid"))
		if err != nil {
			t.Fatal(err)
		}
		if id, err = strconv.Atoi(strings.Fields(strings.Split(string(text), "\n")[6])[1]); err != nil {
			t.Fatal(err)
		}
		maps, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.PID()), "maps"))
		if err != nil || strings.Contains(string(maps), "/dev/shm/") {
			t.Errorf("it has memory that it would leave behind, %v:\n%s", err, maps)
		}
	})
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EIDRM) {
		t.Errorf("segment %d is still there: %v", id, err)
	}
}
