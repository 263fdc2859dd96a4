package run

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"perdure/internal/errs"
	"perdure/internal/plan"
)

// MostAttachment bounds one file, in bytes.
const MostAttachment = 4 << 20

// longestName bounds the name of a file, in characters.
const longestName = 100

// Files is under which name the result of an action has files that it made, as a list of Attachment. The journal names them as those of a task.
const Files = "files"

// Attachment is a file that was handed in with a task, or made by an action. Its bytes are kept beside the journal, which names them by their digest.
type Attachment struct {
	Name string `json:"name"` // cleaned: no path, no controls
	Type string `json:"type"` // what its bytes are, whatever it is called
	Size int    `json:"size"` // in bytes
	// SHA256 is the digest of its bytes, in hex.
	SHA256 string `json:"sha256"`
}

// NewAttachment judges a file: what it is follows from its bytes. Errors are of kind invalid and say what may be handed in.
func NewAttachment(name string, data []byte) (Attachment, error) {
	a := Attachment{Name: cleanName(name), Size: len(data)}
	switch {
	case len(data) == 0:
		return a, errs.New(errs.Invalid, "%s is empty", a.Name)
	case len(data) > MostAttachment:
		return a, errs.New(errs.Invalid, "%s has %d bytes: at most %d can be attached", a.Name, len(data), MostAttachment)
	}
	if a.Type = typeOf(a.Name, data); a.Type == "" {
		return a, errs.New(errs.Invalid, "%s is nothing that can be attached; allowed: PDF, PNG, JPEG, DOCX and XLSX without macros, text in UTF-8", a.Name)
	}
	sum := sha256.Sum256(data)
	a.SHA256 = hex.EncodeToString(sum[:])
	return a, nil
}

// cleanName takes from the name of a file what may be part of a path, of a line, or of another file's name.
func cleanName(name string) string {
	name = strings.ToValidUTF8(name, "_")
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || strings.ContainsRune(" ._-()", r) {
			return r
		}
		return '_'
	}, name)
	name = strings.Trim(name, " .")
	if runes := []rune(name); len(runes) > longestName { // the end says what it is
		name = strings.Trim(string(runes[len(runes)-longestName:]), " .")
	}
	if name == "" {
		return "file"
	}
	return name
}

// The types of files that can be attached.
const (
	typePDF  = "application/pdf"
	typePNG  = "image/png"
	typeJPEG = "image/jpeg"
	typeDOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	typeXLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	typeText = "text/plain; charset=utf-8"
	typeCSV  = "text/csv; charset=utf-8"
)

// typeOf is what the bytes are; empty: nothing of the list. Of the name no more is believed than that a text is a table.
func typeOf(name string, data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("%PDF-")):
		return typePDF
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return typePNG
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return typeJPEG
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return officeType(data)
	case !plainText(data):
		return ""
	case strings.HasSuffix(strings.ToLower(name), ".csv"):
		return typeCSV
	}
	return typeText
}

func plainText(data []byte) bool {
	return utf8.Valid(data) && !bytes.ContainsFunc(data, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' })
}

// officeType tells documents by the parts that they have; nothing is unpacked.
func officeType(data []byte) string {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return ""
	}
	has := func(name string) bool {
		return slices.ContainsFunc(z.File, func(f *zip.File) bool { return strings.EqualFold(f.Name, name) })
	}
	macros := slices.ContainsFunc(z.File, func(f *zip.File) bool { return strings.Contains(strings.ToLower(f.Name), "vbaproject") })
	switch {
	case macros || !has("[Content_Types].xml"):
		return ""
	case has("word/document.xml"):
		return typeDOCX
	case has("xl/workbook.xml"):
		return typeXLSX
	}
	return ""
}

// checkAttachments refuses more files than there can be, less than a task wants, and one that is there twice.
func checkAttachments(task string, least int, list []Attachment) error {
	switch {
	case len(list) > plan.MostAttachments:
		return errs.New(errs.Invalid, "task %s: %d files are attached, at most %d can be", task, len(list), plan.MostAttachments)
	case len(list) < least:
		return errs.New(errs.Invalid, "task %s: %d files are attached, at least %d have to be", task, len(list), least)
	}
	for i, a := range list {
		if a.SHA256 == "" || slices.ContainsFunc(list[:i], func(o Attachment) bool { return o.SHA256 == a.SHA256 }) {
			return errs.New(errs.Invalid, "task %s: file %s is attached twice, or not kept", task, a.Name)
		}
	}
	return nil
}

// PackName is what the file is called in a pack of evidence: its digest tells it from others of its name, and what no file system has is left out.
func (a Attachment) PackName() string {
	plain := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r)) {
			return r
		}
		return '_'
	}, a.Name)
	return "attachment-" + a.SHA256[:min(16, len(a.SHA256))] + "-" + plain
}

// given parts a result from the files that an action made.
func given(result map[string]any) (map[string]any, []Attachment) {
	files, ok := result[Files].([]Attachment)
	if !ok {
		return result, nil
	}
	result = maps.Clone(result)
	delete(result, Files)
	return result, files
}

// Attachments are all that was handed in or made, in the order of the journal of which the run was made.
func Attachments(journal []Entry) []Attachment {
	var out []Attachment
	for _, e := range journal {
		for _, a := range e.Attachments {
			if !slices.ContainsFunc(out, func(o Attachment) bool { return o.SHA256 == a.SHA256 }) {
				out = append(out, a)
			}
		}
	}
	return out
}
