package sdk

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestAServerThatLacksRoomHasCarriedOutNothing(t *testing.T) {
	for code, want := range map[string]Outcome{"53100": NotOwner, "53200": NotOwner, "58030": NotOwner, "40P01": NotOwner, "23505": Rejected, "XX000": Rejected} {
		if f := refusedBy(&pgconn.PgError{SeverityUnlocalized: "ERROR", Code: code}); f.Outcome != want || f.Status == 0 || f.Title == "" {
			t.Errorf("%s: %+v, want %s", code, f, want)
		}
		if f := refusedBy(&pgconn.PgError{SeverityUnlocalized: "FATAL", Code: code}); f.Outcome != Unknown {
			t.Errorf("%s that ended the session: %s, want unknown", code, f.Outcome)
		}
	}
}

func TestAGuardOfAnotherVersionHasCarriedOutNothing(t *testing.T) {
	for message, want := range map[string]Outcome{"cannot cast type record to perdure.request": NotOwner, "cannot cast type boolean to numeric": Rejected} {
		if f := refusedBy(&pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "42846", Message: message}); f.Outcome != want {
			t.Errorf("%s: %s, want %s", message, f.Outcome, want)
		}
	}
}
