#include "ops/cases.h"

#include <cstring>

#include "ops/attention.h"

namespace clip::ops {

double Case::number(const char* key, double otherwise) const {
  for (const Field& f : fields)
    if (f.key && std::strcmp(f.key, key) == 0) return f.value;
  return otherwise;
}

Case Shapes::operator()(const char* name, unsigned uses, std::initializer_list<double> sizes,
                        std::initializer_list<Field> more) const {
  Case c{name, uses, {}};
  size_t n = 0;
  for (const double size : sizes) c.fields[n] = {keys[n], size}, n++;
  for (const Field& f : more) c.fields[n++] = f;
  return c;
}

std::vector<Case> casesOf(const char* op, unsigned uses) {
  struct Op {
    const char* name;
    std::vector<Case> (*cases)();
  };
#define CLIP_ENTRY(op, Arguments) {#op, op::cases},
  static constexpr Op all[] = {CLIP_OPS(CLIP_ENTRY)};
#undef CLIP_ENTRY
  std::vector<Case> found;
  for (const Op& o : all)
    if (std::strcmp(o.name, op) == 0)
      for (const Case& c : o.cases())
        if (c.uses & uses) found.push_back(c);
  return found;
}

std::vector<List> listsOf(const char* op, const Case& c) {
  std::vector<List> lists;
  if (std::strcmp(op, "attention") != 0) return lists;
  const attention::Lists a = attention::lists(c);
  if (!a.first.empty()) lists.push_back({"first", a.first});
  if (!a.parent.empty()) lists.push_back({"parent", a.parent});
  if (!a.queryRow.empty()) lists.push_back({"queryRow", a.queryRow});
  return lists;
}

}  // namespace clip::ops
