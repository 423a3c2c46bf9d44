// See the header.
// Tested by tests/safetensors_test.cc, tests/torch_file_test.cc and tests/tf_checkpoint_test.cc.
#include "frontend/checkpoint.h"

#include <set>

#include "absl/strings/strip.h"
#include "base/has_file.h"
#include "base/status.h"
#include "frontend/json.h"
#include "frontend/openai_gpt2.h"
#include "frontend/safetensors.h"
#include "frontend/tf_checkpoint.h"
#include "frontend/torch_file.h"

namespace ninfer::frontend {
namespace {

constexpr uint64_t kMaxIndexBytes = 100'000'000;

}  // namespace

absl::Status Checkpoint::Add(StoredTensor tensor) {
  const auto [it, inserted] = index_.emplace(tensor.name, tensors_.size());
  if (!inserted) {
    return InvalidArgument(tensor.file, ": tensor ", Quoted(tensor.name),
                           ": expected in one file, found in ", tensors_[it->second].file, " too");
  }
  tensors_.push_back(std::move(tensor));
  return absl::OkStatus();
}

absl::Status Checkpoint::AddFile(const std::string& path, Parse parse) {
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  NINFER_ASSIGN_OR_RETURN(std::vector<StoredTensor> tensors, parse(path, file->view()));
  for (StoredTensor& tensor : tensors) NINFER_RETURN_IF_ERROR(Add(std::move(tensor)));
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status Checkpoint::OpenShards(const std::string& folder, Parse parse) {
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path_, kMaxIndexBytes));
  NINFER_ASSIGN_OR_RETURN(const auto shard_of, ParseShardIndex(path_, text));
  std::set<std::string> shards;  // in the order of their names
  for (const auto& [name, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    const std::string path = JoinPath(folder, shard);
    if (!FileExists(path)) {
      return InvalidArgument(path_, ": expected shard ", Quoted(shard),
                             " in the folder, found no such file");
    }
    NINFER_RETURN_IF_ERROR(AddFile(path, parse));
  }
  for (const std::string& shard : shards) {
    const std::string path = JoinPath(folder, shard);
    std::set<std::string> names;
    for (const auto& [name, in] : shard_of) {
      if (in == shard) names.insert(name);
    }
    for (const std::string& name : names) {
      const StoredTensor* tensor = Find(name);
      if (tensor != nullptr && tensor->file == path) continue;
      return InvalidArgument(path_, ": tensor ", Quoted(name), ": expected in ", Quoted(shard),
                             ", found ", tensor == nullptr ? "in no shard" : tensor->file);
    }
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::OpenTensorFlow() {
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path_));
  NINFER_ASSIGN_OR_RETURN(const TfIndex index, ParseTfIndex(path_, file->view()));
  const absl::string_view prefix = absl::StripSuffix(path_, ".index");
  for (int64_t shard = 0; shard < index.shards; ++shard) {
    const std::string path = TfShardName(prefix, shard, index.shards);
    if (!FileExists(path)) {
      return InvalidArgument(path_, ": expected shard ", Quoted(path), ", found no such file");
    }
    NINFER_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> data, MappedFile::Open(path));
    for (const TfEntry& entry : index.entries) {
      if (entry.shard != shard) continue;
      NINFER_ASSIGN_OR_RETURN(StoredTensor tensor, TfTensor(entry, path, data->view()));
      RenameOpenAiGpt2(tensor);
      NINFER_RETURN_IF_ERROR(Add(std::move(tensor)));
    }
    files_.push_back(std::move(data));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::OpenFile(const std::string& path) {
  auto checkpoint = std::make_unique<Checkpoint>();
  checkpoint->path_ = path;
  NINFER_RETURN_IF_ERROR(checkpoint->AddFile(path, ParseSafetensors));
  return checkpoint;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::OpenFolder(const std::string& folder) {
  constexpr struct {
    absl::string_view file, index;
    Parse parse;
  } kFormats[] = {
      {"model.safetensors", "model.safetensors.index.json", ParseSafetensors},
      {"pytorch_model.bin", "pytorch_model.bin.index.json", ParseTorchFile},
  };
  auto checkpoint = std::make_unique<Checkpoint>();
  for (const auto& format : kFormats) {
    checkpoint->path_ = JoinPath(folder, format.file);
    NINFER_ASSIGN_OR_RETURN(bool there, HasFile(checkpoint->path_));
    if (there) {
      NINFER_RETURN_IF_ERROR(checkpoint->AddFile(checkpoint->path_, format.parse));
      return checkpoint;
    }
    checkpoint->path_ = JoinPath(folder, format.index);
    NINFER_ASSIGN_OR_RETURN(there, HasFile(checkpoint->path_));
    if (there) {
      NINFER_RETURN_IF_ERROR(checkpoint->OpenShards(folder, format.parse));
      return checkpoint;
    }
  }
  NINFER_ASSIGN_OR_RETURN(checkpoint->path_, OpenAiGpt2Index(folder));
  if (FileExists(checkpoint->path_)) {
    NINFER_RETURN_IF_ERROR(checkpoint->OpenTensorFlow());
    return checkpoint;
  }
  absl::string_view found = "none of them";
  for (absl::string_view other : {"tf_model.h5", "flax_model.msgpack", "consolidated.00.pth"}) {
    if (FileExists(JoinPath(folder, other))) {
      found = other;
      break;
    }
  }
  return InvalidArgument(folder,
                         ": expected model.safetensors, pytorch_model.bin (or the .index.json of "
                         "either) or model.ckpt.index, found ",
                         found);
}

const StoredTensor* Checkpoint::Find(absl::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace ninfer::frontend
