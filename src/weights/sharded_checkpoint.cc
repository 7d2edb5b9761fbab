// SPDX-License-Identifier: Apache-2.0
#include "weights/sharded_checkpoint.h"

#include <algorithm>
#include <map>
#include <string>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/json_text.h"

namespace nextscale {
namespace {

constexpr size_t kMaxIndexBytes = size_t{64} << 20;
constexpr size_t kMaxShards = 1000;

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.front() != '.' && name.size() <= 255 &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

std::map<std::string, std::string> read_weight_map(const std::filesystem::path& path) {
  const nlohmann::json index = parse_json(read_text_file(path, kMaxIndexBytes), shown(path));
  const bool has_map =
      index.is_object() && index.contains("weight_map") && index["weight_map"].is_object();
  if (!has_map) {
    fail(ErrorCode::kBadFile,
         "shards: {} has no 'weight_map' object; this is not an index of shards", shown(path));
  }
  std::map<std::string, std::string> result;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string() || !is_plain_name(file.get_ref<const std::string&>())) {
      fail(ErrorCode::kBadFile,
           "shards: {} places tensor '{}' in {}, wanted the plain name of a file beside it",
           shown(path), printable(tensor),
           printable(file.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)));
    }
    result[tensor] = file.get<std::string>();
  }
  return result;
}

}  // namespace

ShardedCheckpoint::ShardedCheckpoint(const std::filesystem::path& index_path)
    : Checkpoint(index_path) {
  std::map<std::string, size_t> shard_of_file;
  for (const auto& [tensor, file] : read_weight_map(index_path)) {
    const auto [row, is_new] = shard_of_file.try_emplace(file, shards_.size());
    if (is_new && shards_.size() == kMaxShards) {
      fail(ErrorCode::kUnsupported, "shards: {} names more than {} files; merge some",
           shown(index_path), kMaxShards);
    }
    if (is_new) shards_.push_back(open_file(index_path.parent_path() / file));
    const Checkpoint& shard = *shards_[row->second];
    if (const auto type = shard.unreadable().find(tensor); type != shard.unreadable().end()) {
      unreadable_.insert(*type);
      continue;
    }
    const TensorInfo* info = shard.find(tensor);
    if (info == nullptr) {
      fail(ErrorCode::kBadFile,
           "shards: {} has no tensor '{}', which {} places there; download both again",
           shown(shard.path()), printable(tensor), shown(index_path));
    }
    tensors_.push_back(*info);
    shard_of_.push_back(row->second);
  }
  format_ = shards_.empty() ? "sharded" : fmt::format("sharded {}", shards_.front()->format());
}

std::vector<std::filesystem::path> ShardedCheckpoint::files() const {
  std::vector<std::filesystem::path> result{path_};
  for (const auto& shard : shards_) result.push_back(shard->path());
  return result;
}

void ShardedCheckpoint::read_tensor(size_t index, std::span<std::byte> out) {
  shards_[shard_of_[index]]->read(tensors_[index].name, out);
}

}  // namespace nextscale
