// What the scripts of all pages use.

// An element with properties and children; text stays text.
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  Object.assign(element, attributes);
  element.append(...children);
  return element;
}

