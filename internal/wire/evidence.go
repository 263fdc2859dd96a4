package wire

// LogRef is where a leaf of the evidence log is kept: a key of the store that is written once, and the revision it was written at.
type LogRef struct {
	Key      string `json:"key"`
	Revision int64  `json:"revision"`
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
