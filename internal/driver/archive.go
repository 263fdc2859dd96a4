package driver

import (
	"context"
	"time"

	"perdure/internal/estate"
)

// Backup is a base backup in an archive.
type Backup struct {
	Name string `json:"name"`
	// Begin and End are the log that it needs to be whole; Timeline is the one it ends on.
	Begin    estate.LSN `json:"begin"`
	End      estate.LSN `json:"end"`
	Timeline uint32     `json:"timeline"`
	Bytes    int64      `json:"bytes"`
	At       time.Time  `json:"at"` // when it began
	// Checked is when its files were last compared with its list of checksums; Problem is what was wrong then. One with a problem is not used.
	Checked time.Time `json:"checked"`
	Problem string    `json:"problem,omitempty"`
}

// Archive is what is kept at a member for a cold restore: base backups and the log since.
type Archive struct {
	// Backups are complete ones, oldest first.
	Backups []Backup `json:"backups"`
	// Until is up to where the newest good backup and the log behind it reach without a gap; 0 where there is none.
	Until estate.LSN `json:"until"`
	// LogAt is when log was last written here; zero where none was.
	LogAt time.Time `json:"logAt,omitzero"`
	// Gap is the first file of log that is missing behind the newest good backup while later ones are there; empty: none.
	Gap string `json:"gap,omitempty"`
}

// Good is the newest backup that nothing is known to be wrong with.
func (a Archive) Good() (Backup, bool) {
	for i := len(a.Backups) - 1; i >= 0; i-- {
		if a.Backups[i].Problem == "" {
			return a.Backups[i], true
		}
	}
	return Backup{}, false
}

// Archives keeps base backups and log of a group at a member whose own directory is empty, and makes a copy from them. A copy that was made so
// is like any other: severed, closed, and nobody's (I1, I4).
type Archives interface {
	// Archive says what there is, from the files.
	Archive(ctx context.Context) (Archive, error)
	// Receive writes the upstream's log into the archive, each part durable before it is confirmed, until ctx ends or it cannot go on. It
	// continues where a killed one ended.
	Receive(ctx context.Context, upstream Upstream) error
	// BackUp adds a base backup of the upstream and compares it with its checksums; then it removes what is older than the newest
	// keep good ones, and the log that none of them needs. One that was cut short is made anew.
	BackUp(ctx context.Context, upstream Upstream, keep int, progress Progress) (Backup, error)
	// Restore makes the empty directory a severed copy: the newest backup whose files are as they were, with all log behind it. A directory
	// that holds a copy already is left as it is; an owner's is refused. Refused: there is no good backup, or log is missing behind it.
	Restore(ctx context.Context, progress Progress) error
}
