package searchstore

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// wordBytesMax is where a word is cut off, in documents and in queries alike.
const wordBytesMax = 64

// Fold turns a text into its words, separated by single spaces, and counts them. A word is a run of letters and digits, in
// lower case and without accents, so that "Café" and "CAFE" are one. Documents and queries both go through it, and the
// stores split at the spaces only: what a word is, is decided here alone.
func Fold(text string) (folded string, words int) {
	f := folder{out: make([]byte, 0, len(text))}
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= utf8.RuneSelf:
			return foldRunes(text)
		case 'A' <= c && c <= 'Z':
			f.ascii(c + 'a' - 'A')
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			f.ascii(c)
		default:
			f.length = 0
		}
	}
	return string(f.out), f.words
}

func foldRunes(text string) (string, int) {
	f := folder{out: make([]byte, 0, len(text))}
	// The compatible decomposition takes accents off their letters, and ligatures and wide forms apart.
	for _, r := range norm.NFKD.String(strings.ToValidUTF8(text, " ")) {
		switch {
		case unicode.Is(unicode.Mn, r):
			// An accent by itself: neither part of a word nor between two.
		case unicode.IsLetter(r), unicode.IsNumber(r):
			// By way of the capital, because some letters (the Greek sigma) have two small forms.
			f.rune(unicode.ToLower(unicode.ToUpper(r)))
		default:
			f.length = 0
		}
	}
	return string(f.out), f.words
}

// folder builds the words. length is that of the current one; 0 means that the next letter begins another.
type folder struct {
	out    []byte
	words  int
	length int
}

func (f *folder) room(bytes int) bool {
	if f.length == 0 {
		f.words++
		if len(f.out) > 0 {
			f.out = append(f.out, ' ')
		}
	}
	f.length += bytes
	return f.length <= wordBytesMax
}

func (f *folder) ascii(c byte) {
	if f.room(1) {
		f.out = append(f.out, c)
	}
}

func (f *folder) rune(r rune) {
	if f.room(utf8.RuneLen(r)) {
		f.out = utf8.AppendRune(f.out, r)
	}
}
