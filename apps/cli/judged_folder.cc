// SPDX-License-Identifier: Apache-2.0
#include "judged_folder.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cancel.h"
#include "core/error_format.h"
#include "expectation_file.h"
#include "image/png.h"
#include "weights/file_error.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  if (!fs::is_directory(folder, error)) {
    fail(ErrorCode::kNotFound, "eval: there is no folder {}; give one with .png files",
         shown(folder));
  }
  auto entry = fs::recursive_directory_iterator(folder, error);
  for (; !error && entry != fs::end(entry); entry.increment(error)) {
    if (entry->path().extension() == ".png" && entry->is_regular_file()) {
      files.push_back(entry->path());
    }
  }
  if (error) fail_system("cannot read", folder, error.value());
  if (files.empty()) {
    fail(ErrorCode::kUsage, "eval: {} holds no picture, wanted .png files", shown(folder));
  }
  std::ranges::sort(files);
  return files;
}

bool is_number(std::string_view text) {
  const auto is_digit = [](unsigned char letter) { return std::isdigit(letter) != 0; };
  return !text.empty() && std::ranges::all_of(text, is_digit);
}

// "cock" of "0007_cock"; empty if the text is no such name.
std::string_view behind_number(std::string_view text) {
  const size_t place = text.find('_');
  if (place == std::string_view::npos || !is_number(text.substr(0, place))) return {};
  return text.substr(place + 1);
}

// "name" of "name_012".
std::string_view before_number(std::string_view text) {
  const size_t place = text.rfind('_');
  if (place == std::string_view::npos || !is_number(text.substr(place + 1))) return text;
  return text.substr(0, place);
}

class FolderExpectations {
 public:
  FolderExpectations(const fs::path& folder, const fs::path& file, const JudgeLabels& labels)
      : labels_(labels), file_(file) {
    if (file_.empty() && fs::exists(folder / kExpectationsName)) {
      file_ = folder / kExpectationsName;
    }
    if (file_.empty()) return;
    for (const ExpectedPicture& each : read_expectations(file_, labels)) {
      if (by_stem_.emplace(each.stem, each.expectation).second) continue;
      fail(ErrorCode::kBadFile, "expectations: line {} of {} has the name '{}' of another line",
           each.line, shown(file_), printable(each.stem));
    }
  }

  std::optional<Expectation> of(const fs::path& picture) const {
    if (file_.empty()) return of_class(picture.parent_path().filename().string());
    const std::string stem = picture.stem().string();
    for (const std::string_view name : {std::string_view(stem), before_number(stem)}) {
      const auto found = by_stem_.find(name);
      if (found != by_stem_.end()) return found->second;
    }
    return std::nullopt;
  }

  // Says so if nothing, or not everything, was known of the pictures.
  void check(const JudgedSet& set, Progress& progress) const {
    if (set.num_expected() == 0 && !file_.empty()) {
      fail(ErrorCode::kMismatch,
           "expectations: {} speaks of none of the {} pictures; their files are to be called after "
           "its names",
           shown(file_), set.size());
    }
    if (set.num_expected() == 0 || set.num_expected() == set.size()) return;
    progress.note(
        fmt::format("accuracies are of {} of {} pictures: of the others is not known what "
                    "they should show",
                    set.num_expected(), set.size()));
  }

 private:
  std::optional<Expectation> of_class(const std::string& folder) const {
    const std::string_view name = behind_number(folder);
    const auto number = name.empty() ? std::nullopt : find_class(labels_, name);
    if (!number) return std::nullopt;
    return Expectation{.kind = SceneKind::kSingle, .sprites = {*number}};
  }

  const JudgeLabels& labels_;
  fs::path file_;
  std::map<std::string, Expectation, std::less<>> by_stem_;
};

void require_size(const Image& image, const Image& first, const fs::path& picture,
                  const fs::path& first_picture) {
  if (image.width == first.width && image.height == first.height) return;
  fail(ErrorCode::kMismatch,
       "eval: {} has {}x{} pixels, but {} has {}x{}; give pictures of one size", shown(picture),
       image.width, image.height, shown(first_picture), first.width, first.height);
}

}  // namespace

JudgedSet judge_folder(const fs::path& folder, const fs::path& expectations, Judge& judge,
                       Progress& progress) {
  const std::atomic<bool>& cancelled = cancel_on_signal();
  const std::vector<fs::path> pictures = pictures_in(folder);
  const FolderExpectations expected(folder, expectations, judge.labels());
  JudgedSet set(judge.config());
  Image first;
  for (const fs::path& picture : pictures) {
    if (cancelled) fail(ErrorCode::kCancelled, "cancelled: stopped on request");
    const Image image = read_png(picture);
    if (set.size() == 0) first = {.width = image.width, .height = image.height, .rgb = {}};
    require_size(image, first, picture, pictures.front());
    set.add(judge.look(image), expected.of(picture));
    progress.show(static_cast<uint64_t>(set.size()), pictures.size(),
                  fmt::format("{} of {} pictures of {}", set.size(), pictures.size(),
                              printable(folder.string())),
                  Progress::Line::kNo);
  }
  progress.clear();
  expected.check(set, progress);
  return set;
}

}  // namespace nextscale::cli
