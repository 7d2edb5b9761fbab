// SPDX-License-Identifier: Apache-2.0
#include "weights/json_text.h"

#include <set>
#include <vector>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/mapped_file.h"

namespace nextscale {
namespace {

constexpr size_t kMaxDepth = 16;
constexpr size_t kShownReasonBytes = 160;

// Follows a parse and refuses what the grammar allows but no file of ours contains.
class Strictness {
 public:
  explicit Strictness(std::string_view where) : where_(where) {}

  bool operator()(int, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) enter();
    if (event == Event::object_end || event == Event::array_end) keys_.pop_back();
    if (event == Event::key) require_new(parsed.get_ref<const std::string&>());
    return true;
  }

 private:
  void enter() {
    keys_.emplace_back();
    if (keys_.size() > kMaxDepth) {
      fail(ErrorCode::kBadFile,
           "json: {} is nested deeper than {} levels; the file is damaged or hostile", where_,
           kMaxDepth);
    }
  }

  void require_new(const std::string& key) {
    if (keys_.back().insert(key).second) return;
    fail(ErrorCode::kBadFile, "json: {} has the key '{}' twice; remove one", where_,
         printable(key));
  }

  std::string_view where_;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

std::string json_reason(const nlohmann::json::exception& exception) {
  // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ...; last read:
  // '...'"
  std::string_view reason = exception.what();
  if (const size_t bracket = reason.find("] "); bracket != std::string_view::npos)
    reason.remove_prefix(bracket + 2);
  return printable(reason.substr(0, reason.find("; last read")), kShownReasonBytes);
}

nlohmann::json parse_json(std::string_view text, std::string_view where) {
  Strictness strictness(where);
  try {
    return nlohmann::json::parse(text, std::ref(strictness));
  } catch (const nlohmann::json::exception& exception) {
    fail(ErrorCode::kBadFile, "json: {} is not valid JSON: {}; fix the file or make it again",
         where, json_reason(exception));
  }
}

std::string read_text_file(const std::filesystem::path& path, size_t max_bytes) {
  const MappedFile file(path);
  if (file.size() > max_bytes) {
    fail(ErrorCode::kBadFile, "files: {} has {} bytes, wanted at most {}; this is not such a file",
         shown(path), file.size(), max_bytes);
  }
  return {reinterpret_cast<const char*>(file.bytes().data()), file.size()};
}

}  // namespace nextscale
