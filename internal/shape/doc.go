// Package shape says what a YAML document may look like, and holds documents against it: unknown fields, missing fields, wrong forms,
// each told with its line, its field, the reason and what is allowed. Defaults are filled in; what is wrong is taken out, so that one
// problem hides no other. The JSON Schema for editors is written from the same shapes, so both give the same verdict on everything
// that is structural.
//
// A shape knows nothing of what the fields mean: that is the matter of the packages that have documents.
package shape
