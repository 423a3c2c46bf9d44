// The sorted table of keys and values that LevelDB defines and that TensorFlow keeps a checkpoint's
// index in (leveldb/doc/table_format.md). Blocks must be uncompressed, as TensorFlow writes them;
// every block's checksum is verified. Tested by tests/tf_checkpoint_test.cc, fuzzed by
// tests/fuzz/tf_checkpoint_fuzz.cc.
#ifndef NINFER_FRONTEND_LEVELDB_TABLE_H_
#define NINFER_FRONTEND_LEVELDB_TABLE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::frontend {

struct TableEntry {
  std::string key;
  absl::string_view value;  // points into the file
};

// All entries, in the order of their keys. `file` names the table in errors.
absl::StatusOr<std::vector<TableEntry>> ParseTable(absl::string_view file,
                                                   absl::string_view contents);

// Takes a base-128 number of up to 64 bits from the front; false where there is none.
bool TakeVarint(absl::string_view* bytes, uint64_t* value);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_LEVELDB_TABLE_H_
