// Package retailcsv turns the invoice lines of the Online Retail dataset into
// the shop's commands: one per invoice, and one per line for what was written
// off. It reads as a stream, in memory that does not grow with the files.
//
// It is strict. A header, a value or a file that is not as expected ends the
// reading with an *Error that names the place; an invoice is handed out whole
// or not at all. It sends nothing anywhere: that is the loader's work.
package retailcsv
