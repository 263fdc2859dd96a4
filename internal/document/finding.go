package document

// Finding is something that a document needs and that nobody said: it stands in the answer of who asked for the document, and nothing stands
// in the document in its place.
type Finding struct {
	Kind FindingKind `json:"kind"`
	// Subject is what it is about, such as the name of a role, of a participant or of a unit.
	Subject string `json:"subject,omitempty"`
	// Text is in the language of the document.
	Text string `json:"text"`
}

// FindingKind says what a finding is about.
type FindingKind string

// The kinds of findings.
const (
	Nobody    FindingKind = "nobody"    // nobody has a role, a duty or a name that is asked for
	Unreached FindingKind = "unreached" // nothing says how to reach somebody
	NoPlan    FindingKind = "no-plan"   // no plan does what is needed
	NoWindow  FindingKind = "no-window" // no window of the calendars is for it
	Unsaid    FindingKind = "unsaid"    // the estate does not say something else
	Late      FindingKind = "late"      // it may take longer than its objective
	Breach    FindingKind = "contract"  // a step breaks the contract of the mode
)
