package wire

// LogRef is where a leaf of the evidence log is kept: a key of the store that is written once, and the revision it was written at.
type LogRef struct {
	Key      string `json:"key"`
	Revision int64  `json:"revision"`
	// Hash is that of the leaf, in base64, where the leaf itself was retired (E7).
	Hash string `json:"hash,omitempty"`
}

// LogHead is how far the evidence log has come.
type LogHead struct {
	Size int64 `json:"size"`
	// Revision is that of the last leaf: everything up to it is in the log.
	Revision int64 `json:"revision"`
}

// LogCheckpoint is the newest signed checkpoint of the evidence log.
type LogCheckpoint struct {
	Size int64  `json:"size"`
	Note string `json:"note"`
}

// LogKey is the public key with which a node signs checkpoints.
type LogKey struct {
	Node string `json:"node"`
	Key  string `json:"key"`
}

// Retirement 到期移出 takes out of the control store what has been kept there for long enough and is in packs elsewhere. There is one at a time.
type Retirement struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
	At     int64  `json:"at"` // Unix milliseconds, as the others
	// Before: nothing that was written or ended since goes. Exported: no entry of the log from this one on goes. Size is that of the log when it was asked
	// for: no run whose pack was made since goes.
	Before   int64 `json:"before"`
	Exported int64 `json:"exported"`
	Size     int64 `json:"size"`
	// Origin names the log. After a recovery of the store there is another one, and the retirement stops.
	Origin string `json:"origin"`
	// Marked: all runs that go are known. Next is the entry of the log that is looked at next. Runs and Entries are how many have gone.
	Marked  bool  `json:"marked,omitempty"`
	Next    int64 `json:"next"`
	Runs    int   `json:"runs"`
	Entries int64 `json:"entries"`
	// FinishedAt is when it had come to its end, 0 before; Stopped says why it ended before that.
	FinishedAt int64  `json:"finishedAt,omitempty"`
	Stopped    string `json:"stopped,omitempty"`
	// Revision is set when it is read from the store.
	Revision int64 `json:"revision,omitempty"`
}

// Retiring is what a retirement would take out, and how the last one stands.
type Retiring struct {
	Origin string `json:"origin"`
	Size   int64  `json:"size"` // of the log
	// RetentionDays is for how long everything is kept; nil: for ever.
	RetentionDays *int  `json:"retentionDays,omitempty"`
	Before        int64 `json:"before"` // Unix milliseconds
	// Runs go with all of their entries. Entries are those, and the events before that are of no run.
	Runs    []RetiringRun `json:"runs"`
	Entries int64         `json:"entries"`
	// Stay are runs that ended before too, and why they stay.
	Stay []StayingRun `json:"stay"`
	// Last is the newest retirement; nil: there was none.
	Last *Retirement `json:"last,omitempty"`
}

// RetiringRun is a run that a retirement takes out, and how many entries of the log are about it.
type RetiringRun struct {
	Run     string `json:"run"`
	Entries int    `json:"entries"`
}

// StayingRun is a run that a retirement leaves, and why. Unpacked: a pack of it as it is now is all that it lacks.
type StayingRun struct {
	Run      string `json:"run"`
	Reason   string `json:"reason"`
	Unpacked bool   `json:"unpacked,omitempty"`
}

// Retire asks for a retirement. Origin, Size and Root are what the newest pack of the export was verified against, Exported is how far the export comes
// without a gap, Runs are those of Retiring, whose packs stand beside it.
type Retire struct {
	Before   int64    `json:"before"` // Unix milliseconds
	Exported int64    `json:"exported"`
	Origin   string   `json:"origin"`
	Size     int64    `json:"size"`
	Root     string   `json:"root"`
	Runs     []string `json:"runs"`
	Reason   string   `json:"reason"`
}
