// SPDX-License-Identifier: Apache-2.0
#include "calibrate/calibration_header.h"

#include "core/error_format.h"

namespace nextscale {
namespace {

using nlohmann::json;

// Far beyond any model, so that sizes computed from them cannot overflow.
constexpr int64_t kMaxLayers = 1000;
constexpr int64_t kMaxHeads = 1000;
constexpr int64_t kMaxHeadDim = 4096;
constexpr size_t kMaxScales = 64;
constexpr int64_t kMaxSide = 4096;
constexpr int64_t kMaxSamples = 1'000'000;
constexpr int64_t kMaxCount = int64_t{1} << 40;
constexpr size_t kMaxTextBytes = 10'000;
constexpr size_t kMaxImports = 100;

json geometry_json(const Geometry& geometry) {
  json scales = json::array();
  for (const Grid& grid : geometry.scales) scales.push_back({grid.height, grid.width});
  return {{"layers", geometry.layers},
          {"query_heads", geometry.query_heads},
          {"kv_heads", geometry.kv_heads},
          {"head_dim", geometry.head_dim},
          {"scales", scales}};
}

json source_json(const SampleSource& source) {
  return {{"kind", source.kind},
          {"conditionings", source.conditionings},
          {"samples", source.samples},
          {"asi_top", source.asi_top},
          {"settings", source.settings}};
}

// Members of an object, each checked before it is used.
class Members {
 public:
  Members(const json& object, const std::string& where) : object_(object), where_(where) {
    if (!object.is_object()) refuse("its header", "an object");
  }

  const json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) refuse(key, "to be there");
    return *found;
  }
  bool has(const char* key) const { return object_.contains(key); }

  int64_t integer(const char* key, int64_t least, int64_t most) const {
    return checked_integer(key, at(key), least, most);
  }

  int64_t checked_integer(const char* key, const json& value, int64_t least, int64_t most) const {
    const bool is_huge =
        value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
    if (!value.is_number_integer() || is_huge || value.get<int64_t>() < least ||
        value.get<int64_t>() > most) {
      refuse(key, fmt::format("a whole number from {} to {}", least, most));
    }
    return value.get<int64_t>();
  }

  std::string text(const char* key) const { return checked_text(key, at(key)); }

  std::string checked_text(const char* key, const json& value) const {
    if (!value.is_string() || value.get_ref<const std::string&>().size() > kMaxTextBytes) {
      refuse(key, fmt::format("a text of at most {} bytes", kMaxTextBytes));
    }
    return value.get<std::string>();
  }

  const json& list(const char* key, size_t least, size_t most) const {
    const json& value = at(key);
    if (!value.is_array() || value.size() < least || value.size() > most) {
      refuse(key, fmt::format("a list of {} to {}", least, most));
    }
    return value;
  }

  [[noreturn]] void refuse(const char* key, std::string_view wanted) const {
    fail(ErrorCode::kBadFile,
         "calibration: {} is damaged: wanted '{}' {}; make it anew with `nextscale calibrate`",
         where_, key, wanted);
  }

 private:
  const json& object_;
  const std::string& where_;
};

Geometry parse_geometry(const Members& members) {
  Geometry geometry{.layers = members.integer("layers", 1, kMaxLayers),
                    .query_heads = members.integer("query_heads", 1, kMaxHeads),
                    .kv_heads = members.integer("kv_heads", 1, kMaxHeads),
                    .head_dim = members.integer("head_dim", 1, kMaxHeadDim),
                    .scales = {}};
  if (geometry.query_heads % geometry.kv_heads != 0) {
    members.refuse("kv_heads", "to divide 'query_heads'");
  }
  for (const json& grid : members.list("scales", 1, kMaxScales)) {
    if (!grid.is_array() || grid.size() != 2) members.refuse("scales", "pairs of sides");
    geometry.scales.push_back({members.checked_integer("scales", grid[0], 1, kMaxSide),
                               members.checked_integer("scales", grid[1], 1, kMaxSide)});
  }
  return geometry;
}

SampleSource parse_source(const Members& members) {
  SampleSource source{.kind = members.text("kind"),
                      .conditionings = {},
                      .samples = members.integer("samples", 1, kMaxSamples),
                      .asi_top = members.integer("asi_top", 1, kMaxCount),
                      .settings = members.at("settings")};
  if (!source.settings.is_object()) members.refuse("settings", "an object");
  for (const json& text : members.list("conditionings", 1, kMaxSamples)) {
    source.conditionings.push_back(members.checked_text("conditionings", text));
  }
  return source;
}

}  // namespace

json to_json(const CalibrationHeader& header) {
  json result{{"tool", header.tool},
              {"model_id", header.model_id},
              {"family", header.family},
              {"geometry", geometry_json(header.geometry)},
              {"imports", json::array()}};
  if (header.source) result["source"] = source_json(*header.source);
  for (const CalibrationImport& each : header.imports) {
    result["imports"].push_back(
        {{"method", each.method}, {"file", each.file}, {"sha256", each.sha256}});
  }
  return result;
}

CalibrationHeader parse_calibration_header(const json& value, const std::string& where) {
  const Members members(value, where);
  CalibrationHeader header{.tool = members.text("tool"),
                           .model_id = members.text("model_id"),
                           .family = members.text("family"),
                           .geometry = parse_geometry(Members(members.at("geometry"), where)),
                           .source = std::nullopt,
                           .imports = {}};
  if (members.has("source")) header.source = parse_source(Members(members.at("source"), where));
  for (const json& each : members.list("imports", 0, kMaxImports)) {
    const Members import(each, where);
    header.imports.push_back({.method = import.text("method"),
                              .file = import.text("file"),
                              .sha256 = import.text("sha256")});
  }
  return header;
}

}  // namespace nextscale
