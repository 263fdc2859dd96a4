package wire_test

import (
	"strings"
	"testing"

	"perdure/internal/manifest"
	"perdure/internal/wire"
)

func TestNoParticipantIsNamedLikeARole(t *testing.T) {
	for _, r := range wire.Roles() {
		text := "apiVersion: perdure/v1\nkind: Participant\nname: " + string(r) + "\ntype: branch\n"
		_, err := manifest.Parse(manifest.File{Name: "p.yaml", Text: []byte(text)})
		if err == nil || !strings.Contains(err.Error(), "is a role") {
			t.Errorf("%s: %v", r, err)
		}
	}
}
