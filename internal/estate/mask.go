package estate

// MaskKind says what a mask leaves of a value; a closed list.
type MaskKind string

// The kinds of masks. What is null stays null.
const (
	MaskHash  MaskKind = "hash"  // a pseudonym: equal values get equal ones, in all columns of one sandbox; nobody keeps its key
	MaskEmpty MaskKind = "empty" // nothing
	MaskFixed MaskKind = "fixed" // the same text everywhere
	MaskLast4 MaskKind = "last4" // the last four characters, and of values shorter than eight none; every other one is a *
)

// Mask takes from a column of a sandbox what participants may not see.
type Mask struct {
	// Table is SCHEMA.TABLE, Column one of its columns; both as the database has them.
	Table  string   `yaml:"table" json:"table"`
	Column string   `yaml:"column" json:"column"`
	As     MaskKind `yaml:"as" json:"as"`
	// Text is that of kind fixed.
	Text string `yaml:"text,omitempty" json:"text,omitempty"`
}

// Showing is what participants of a drill may look at: the first rows of a table by its primary key.
type Showing struct {
	Table string `yaml:"table" json:"table"`
	// Columns are shown, in this order. Each has a mask, or is one of Plain.
	Columns []string `yaml:"columns" json:"columns"`
	Plain   []string `yaml:"plain,omitempty" json:"plain,omitempty"`
	// Rows is how many at most, 1 to 200.
	Rows int `yaml:"rows" json:"rows"`
}
