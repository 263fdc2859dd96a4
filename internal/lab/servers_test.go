package lab

import (
	"strings"
	"testing"

	"perdure/internal/errs"
)

func TestFolderWithoutPostgreSQLIsNamed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PERDURE_PG_BINDIR", dir)
	if _, err := binDir(); errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
}
