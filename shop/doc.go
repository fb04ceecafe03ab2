// Package shop is the reference domain: an online gift shop with orders,
// credit notes, ledger entries and stock, and the read models its people look
// at. It is written as a user of the platform would write theirs: pure
// functions over generated records, a file per aggregate and read model, and
// one topology that names them all.
//
// Beside the domain stand the shop's own subcommands: Load brings real orders
// in through the HTTP API, Figures reads the shop's totals back.
package shop
