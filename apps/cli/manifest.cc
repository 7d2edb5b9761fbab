// SPDX-License-Identifier: Apache-2.0
#include "manifest.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <utility>

#include "core/error_format.h"
#include "line_reader.h"
#include "weights/file_error.h"
#include "weights/json_text.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMaxLineBytes = size_t{4} << 20;
constexpr mode_t kNewFileMode = 0666;  // cut by the process's mask
// Of the keys of a line, those that decide the picture.
constexpr std::array<const char*, 5> kDeciding{"prompt", "negative", "seed", "image", "settings"};

json deciding_part(const json& line) {
  json part = json::object();
  for (const char* key : kDeciding) part[key] = line.value(key, json());
  return part;
}

json parse_line(const LineReader& lines) {
  const std::string where = fmt::format("line {} of {}", lines.number(), shown(lines.path()));
  json line = parse_json(lines.text(), where);
  if (line.is_object() && line.contains("file") && line.at("file").is_string() &&
      line.value("settings", json()).is_object()) {
    return line;
  }
  fail(ErrorCode::kBadFile,
       "manifest: {} does not describe a picture; give another folder, or move the file away",
       where);
}

void write_all(int descriptor, std::string_view text, uint64_t offset, const fs::path& path) {
  while (!text.empty()) {
    const ssize_t written =
        pwrite(descriptor, text.data(), text.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_system("cannot write", path, errno);
    text.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

}  // namespace

std::string first_difference(const json& there, const json& now) {
  for (const json* object : {&now, &there}) {
    for (const auto& [key, ignored] : object->items()) {
      const json before = there.value(key, json());
      const json after = now.value(key, json());
      if (before == after) continue;
      if (before.is_object() && after.is_object()) return first_difference(before, after);
      return fmt::format("{}: {} there, {} now", key, printable(before.dump()),
                         printable(after.dump()));
    }
  }
  return {};
}

Manifest::Manifest(const fs::path& folder, json settings, OtherPictures others)
    : folder_(folder),
      path_(folder / kManifestName),
      settings_(std::move(settings)),
      others_(others) {
  lock();
  try {
    read();
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

Manifest::~Manifest() { close(descriptor_); }

void Manifest::lock() {
  descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kNewFileMode);
  if (descriptor_ < 0) fail_system("cannot open", path_, errno);
  if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  const int error = errno;
  close(descriptor_);
  if (error != EWOULDBLOCK) fail_system("cannot lock", path_, error);
  fail(ErrorCode::kUsage,
       "-o: another run writes to {} at this moment; wait for it, or give another folder",
       shown(folder_));
}

void Manifest::read() {
  LineReader lines(path_, kMaxLineBytes);
  while (lines.next() && lines.is_ended()) {
    const json line = parse_line(lines);
    if (others_ == OtherPictures::kRefuse && line.at("settings") != settings_) {
      refuse(line.at("settings"), settings_);
    }
    entries_[line.at("file")] = {.digest = digest_of(line), .offset = lines.offset()};
    end_ = lines.end();
  }
}

uint64_t Manifest::digest_of(const json& line) const {
  return std::hash<std::string>()(deciding_part(line).dump());
}

json Manifest::line_of(const PictureKey& key) const {
  json line{{"file", key.file}, {"prompt", key.prompt.text}, {"negative", nullptr},
            {"seed", key.seed}, {"image", key.image},        {"settings", settings_}};
  if (key.prompt.negative) line["negative"] = *key.prompt.negative;
  return line;
}

void Manifest::refuse(const json& recorded, const json& wanted) const {
  fail(ErrorCode::kUsage,
       "-o: {} holds pictures of other settings ({}); give another folder, or --force to make them "
       "again",
       shown(folder_), first_difference(recorded, wanted));
}

bool Manifest::has(const PictureKey& key) const {
  const auto entry = entries_.find(key.file);
  if (entry == entries_.end()) return false;
  const json wanted = line_of(key);
  if (entry->second.digest == digest_of(wanted)) return fs::exists(folder_ / key.file);
  if (others_ == OtherPictures::kMakeAgain) return false;
  LineReader lines(path_, kMaxLineBytes);
  lines.skip_to(entry->second.offset);
  lines.next();
  fail(ErrorCode::kUsage,
       "-o: {} is another picture than is asked for now ({}); give another folder, or --force to "
       "make it again",
       shown(folder_ / key.file),
       first_difference(deciding_part(parse_line(lines)), deciding_part(wanted)));
}

void Manifest::add(const PictureKey& key, const PictureFacts& facts) {
  json line = line_of(key);
  const uint64_t digest = digest_of(line);
  line["width"] = facts.width;
  line["height"] = facts.height;
  line["kv_bytes"] = facts.kv_bytes;
  const std::string text = line.dump() + "\n";
  // What a killed run left behind the last whole line.
  if (ftruncate(descriptor_, static_cast<off_t>(end_)) != 0)
    fail_system("cannot cut", path_, errno);
  write_all(descriptor_, text, end_, path_);
  if (fdatasync(descriptor_) != 0) fail_system("cannot write", path_, errno);
  entries_[key.file] = {.digest = digest, .offset = end_};
  end_ += text.size();
}

}  // namespace nextscale::cli
