// SPDX-License-Identifier: Apache-2.0
#include "weights/model_folder.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/json_text.h"
#include "weights/sha256.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMaxConfigBytes = size_t{1} << 20;
constexpr size_t kMaxFiles = 100;
constexpr size_t kSha256Digits = 64;

[[noreturn]] void fail_raw(const fs::path& path, std::string_view what) {
  fail(ErrorCode::kMismatch,
       "model: {} is {}, not a model folder; make one with 'nextscale convert' and give its path",
       shown(path), what);
}

[[noreturn]] void refuse(const fs::path& path, std::string_view problem) {
  fail(ErrorCode::kBadFile,
       "model: the config.json of {} {}; make the folder again with 'nextscale convert'",
       shown(path), problem);
}

void require_folder(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    fail(ErrorCode::kNotFound, "model: there is no folder {}; check the path given with --model",
         shown(path));
  }
  if (!fs::is_directory(status)) fail_raw(path, "a file");
  if (!fs::exists(path / kModelConfigName, error)) fail_raw(path, "a folder without config.json");
}

const json* find(const json& object, std::string_view key) {
  const auto member = object.find(key);
  return member == object.end() ? nullptr : &*member;
}

std::optional<std::string> text_at(const json& object, std::string_view key) {
  const json* value = find(object, key);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

void require_version(const ModelFolder& folder) {
  const bool is_ours =
      folder.config.is_object() && text_at(folder.config, "format") == kModelFormat;
  if (!is_ours) fail_raw(folder.path, "a folder with the config.json of another program");
  const json* version = find(folder.config, "version");
  if (version != nullptr && version->is_number_integer() && *version == kModelVersion) return;
  fail(ErrorCode::kMismatch,
       "model: {} has format version {}, wanted {}; convert the checkpoint again with this version",
       shown(folder.path), version == nullptr ? "none" : printable(version->dump()), kModelVersion);
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.front() != '.' &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

bool is_sha256(std::string_view text) {
  const auto is_digit = [](unsigned char digit) { return std::isxdigit(digit) != 0; };
  return text.size() == kSha256Digits && std::ranges::all_of(text, is_digit);
}

ModelFile parse_file(const ModelFolder& folder, const json& entry) {
  if (!entry.is_object()) refuse(folder.path, "lists a file that is no object");
  const auto name = text_at(entry, "file");
  const auto hash = text_at(entry, "sha256");
  const json* bytes = find(entry, "bytes");
  if (!name || !is_plain_name(*name)) refuse(folder.path, "lists a file without a plain name");
  if (!hash || !is_sha256(*hash) || bytes == nullptr || !bytes->is_number_unsigned()) {
    refuse(folder.path, fmt::format("lists '{}' without its size or SHA-256", printable(*name)));
  }
  return {*name, bytes->get<uint64_t>(), *hash};
}

void parse_files(ModelFolder& folder) {
  const json* files = find(folder.config, "files");
  if (files == nullptr || !files->is_array() || files->size() > kMaxFiles) {
    refuse(folder.path, "has no list 'files'");
  }
  for (const json& entry : *files) folder.files.push_back(parse_file(folder, entry));
  for (std::string_view wanted : {kTransformerName, kVaeName}) {
    const bool listed =
        std::ranges::find(folder.files, wanted, &ModelFile::name) != folder.files.end();
    if (!listed) refuse(folder.path, fmt::format("does not list {}", wanted));
  }
}

void require_sizes(const ModelFolder& folder) {
  for (const ModelFile& file : folder.files) {
    std::error_code error;
    const uint64_t bytes = fs::file_size(folder.path / file.name, error);
    if (error) fail_system("examine", folder.path / file.name, error.value());
    if (bytes == file.bytes) continue;
    fail(ErrorCode::kBadFile,
         "model: {} has {} bytes, wanted {}; copy the folder again or make it again with "
         "'nextscale convert'",
         shown(folder.path / file.name), bytes, file.bytes);
  }
}

}  // namespace

ModelFolder open_model_folder(const fs::path& path) {
  require_folder(path);
  const std::string text = read_text_file(path / kModelConfigName, kMaxConfigBytes);
  ModelFolder folder;
  folder.path = path;
  folder.hash = sha256_hex(text);
  folder.config = parse_json(text, shown(path / kModelConfigName));
  require_version(folder);
  folder.family = text_at(folder.config, "family").value_or("");
  if (folder.family.empty()) refuse(path, "names no family");
  const auto dtype = parse_dtype(text_at(folder.config, "weights_dtype").value_or(""));
  if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kI8)
    refuse(path, "has no weights_dtype f32, bf16 or i8");
  folder.weights_dtype = *dtype;
  parse_files(folder);
  require_sizes(folder);
  return folder;
}

void verify_model_folder(const ModelFolder& folder, const std::function<void(uint64_t)>& on_bytes) {
  for (const ModelFile& file : folder.files) {
    if (sha256_of_file(folder.path / file.name, on_bytes) == file.sha256) continue;
    fail(ErrorCode::kBadFile,
         "model: the contents of {} are not what config.json says; copy the folder again or make "
         "it again with "
         "'nextscale convert'",
         shown(folder.path / file.name));
  }
}

}  // namespace nextscale
