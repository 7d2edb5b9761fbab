// SPDX-License-Identifier: Apache-2.0
// eval dump: a folder of pictures for each class. A picture that is there is done, since it appears
// complete or not at all; settings.json keeps pictures of other settings out.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "cancel.h"
#include "core/atomic_file.h"
#include "core/error_format.h"
#include "eval_options.h"
#include "generation_watch.h"
#include "image/npz.h"
#include "image/png.h"
#include "manifest.h"
#include "output.h"
#include "weights/file_error.h"
#include "weights/json_text.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kSettingsName = "settings.json";

// A name as part of a folder's: letters, digits and what else is plain; the rest as '_'.
std::string plain(std::string name) {
  const auto is_plain = [](unsigned char letter) {
    return std::isalnum(letter) != 0 || letter >= 0x80 || letter == '-' || letter == '\'';
  };
  std::ranges::replace_if(
      name, [&](char letter) { return !is_plain(letter); }, '_');
  return name;
}

// Consecutive pictures of some classes.
struct DumpGroup {
  std::vector<int64_t> classes;
  int64_t first_image = 0;
  int64_t images = 0;
};

class Dump {
 public:
  explicit Dump(const DumpOptions& options)
      : options_(options),
        request_(options.run.checked_request()),
        engine_(options.run.engine_options()),
        names_(engine_.class_names()),
        classes_(chosen_classes()),
        folder_(picture_folder(options.output + "/")) {}

  void run() {
    keep_settings();
    const std::vector<DumpGroup> groups = pending_groups();
    int64_t num_pending = 0;
    for (const DumpGroup& group : groups) num_pending += std::ssize(group.classes) * group.images;
    GenerationWatch watch(num_pending, options_.verbose ? ScaleLines::kAll : ScaleLines::kLast);
    const int64_t num_images = std::ssize(classes_) * options_.per_class;
    if (num_pending < num_images) {
      watch.note(fmt::format("{} of {} pictures are in {} already and are skipped",
                             num_images - num_pending, num_images, shown(folder_)));
    }
    for (const DumpGroup& group : groups) generate(group, watch);
    if (num_pending > 0) watch.note_summary(engine_);
    if (!options_.npz.empty()) write_archive();
    fmt::print("{}\n", options_.npz.empty() ? folder_.string() : options_.npz);
  }

 private:
  std::vector<int64_t> chosen_classes() const {
    if (engine_.num_classes() == 0) {
      fail(ErrorCode::kUsage,
           "eval dump: this model reads prompts, wanted one of classes; `nextscale generate "
           "--prompts FILE -o FOLDER/` makes pictures of many prompts");
    }
    if (options_.per_class < 1) {
      fail(ErrorCode::kUsage, "--per-class: got {}, wanted at least 1", options_.per_class);
    }
    std::vector<int64_t> classes;
    for (const std::string& text : request_.classes) classes.push_back(engine_.class_index(text));
    for (int64_t number = 0; request_.classes.empty() && number < engine_.num_classes(); ++number) {
      classes.push_back(number);
    }
    std::ranges::sort(classes);
    classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
    return classes;
  }

  // "0007_cock", or "0007" without names.
  fs::path folder_of(int64_t number) const {
    if (names_.empty()) return folder_ / fmt::format("{:04}", number);
    const std::string& all = names_[static_cast<size_t>(number)];
    return folder_ / fmt::format("{:04}_{}", number, plain(all.substr(0, all.find(", "))));
  }

  fs::path file_of(int64_t number, int64_t image) const {
    return folder_of(number) / fmt::format("{:06}.png", image);
  }

  // Refuses a folder that holds anything but pictures of these settings.
  void keep_settings() const {
    Request any = request_;
    any.classes = {"0"};
    json settings = json::parse(engine_.settings(any));
    settings["seed"] = request_.seed;
    const fs::path path = folder_ / kSettingsName;
    if (!fs::exists(path)) {
      if (!fs::is_empty(folder_)) {
        fail(ErrorCode::kUsage,
             "-o: {} has no {} but is not empty, wanted an empty folder or one of an earlier dump",
             shown(folder_), kSettingsName);
      }
      AtomicFile file(path);
      file.write(settings.dump(2) + "\n");
      return file.commit();
    }
    constexpr size_t kMaxBytes = size_t{1} << 20;
    const json there = parse_json(read_text_file(path, kMaxBytes), shown(path));
    if (there == settings) return;
    fail(ErrorCode::kUsage, "-o: {} holds pictures of other settings ({}); give another folder",
         shown(folder_), there.is_object() ? first_difference(there, settings) : "none at all");
  }

  // What is not there, as few requests as possible.
  std::vector<DumpGroup> pending_groups() const {
    std::vector<DumpGroup> groups;
    for (const int64_t number : classes_) {
      for (int64_t image = 0; image < options_.per_class;) {
        const int64_t first = image;
        while (image < options_.per_class && !fs::exists(file_of(number, image))) ++image;
        if (image > first) add_to(groups, number, first, image - first);
        ++image;
      }
    }
    return groups;
  }

  static void add_to(std::vector<DumpGroup>& groups, int64_t number, int64_t first,
                     int64_t images) {
    if (groups.empty() || groups.back().first_image != first || groups.back().images != images ||
        groups.back().classes.back() == number) {
      groups.push_back({.classes = {}, .first_image = first, .images = images});
    }
    groups.back().classes.push_back(number);
  }

  static void make_folder(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) fail_system("cannot make", folder, error.value());
  }

  void generate(const DumpGroup& group, GenerationWatch& watch) {
    Request request = request_;
    request.classes.clear();
    for (const int64_t number : group.classes) {
      request.classes.push_back(std::to_string(number));
      make_folder(folder_of(number));
    }
    request.first_image = group.first_image;
    request.images_each = group.images;
    Events events = watch.events(num_done_);
    events.on_image = [&](const GeneratedImage& image) {
      write_png(file_of(image.class_index, image.image_index), image.image, image.texts);
      ++num_done_;
    };
    try {
      engine_.generate(request, events);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kCancelled) throw;
      fail(ErrorCode::kCancelled,
           "cancelled: {} more pictures are done; the same command goes on "
           "from there",
           num_done_);
    }
  }

  void write_archive() const {
    const std::atomic<bool>& cancelled = cancel_on_signal();
    write_npz(options_.npz, std::ssize(classes_) * options_.per_class, [&](int64_t index) {
      if (cancelled) {
        fail(ErrorCode::kCancelled, "cancelled: all pictures are done, but not {}",
             shown(options_.npz));
      }
      const auto number = static_cast<size_t>(index / options_.per_class);
      return read_png(file_of(classes_[number], index % options_.per_class));
    });
  }

  const DumpOptions& options_;
  Request request_;
  Engine engine_;
  std::vector<std::string> names_;
  std::vector<int64_t> classes_;  // ascending
  fs::path folder_;
  int64_t num_done_ = 0;
};

}  // namespace

void dump_pictures(const DumpOptions& options) { Dump(options).run(); }

}  // namespace nextscale::cli
