package cli

import (
	"fmt"
	"strings"

	"perdure/internal/document"
)

// language is what people read.
type language string

// The closed list of languages.
const (
	english language = "en"
	chinese language = "zh-CN"
)

// language gives --lang, else what the environment prefers, else English.
func (s *session) language() language {
	if s.lang != "" {
		return language(s.lang)
	}
	for _, name := range []string{"PERDURE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"} {
		switch v := s.Getenv(name); {
		case v == "":
			continue
		case strings.HasPrefix(strings.ToLower(v), "zh"):
			return chinese
		}
		return english
	}
	return english
}

// say gives a phrase in the language of the session, with its arguments filled in.
func (s *session) say(p phrase, args ...any) string {
	text := phrases[p].en
	if s.language() == chinese {
		text = phrases[p].zh
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// word gives the phrase for a word of the protocol, or the word itself where there is none: nothing is ever hidden for lack of a translation.
func (s *session) word(w string) string {
	if s.language() == chinese {
		if zh, ok := words[w]; ok {
			return zh
		}
	}
	return w
}

// recorded says a note that is kept in English in the language of the session.
func (s *session) recorded(note string) string {
	return document.Language(s.language()).Recorded(note)
}
